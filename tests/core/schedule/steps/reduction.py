"""Steps of the primitives on reductions."""

from __future__ import annotations

import random
from functools import partial

from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref
from tests.core.schedule.steps.step import Proposal, Step, a_block, a_loop


def decompose_reduction(rng: random.Random, sch: Schedule) -> Proposal:
    block = _reduction(rng, sch)
    return partial(sch.decompose_reduction, block, a_loop(rng, sch, block))


def rfactor(rng: random.Random, sch: Schedule) -> Proposal:
    return partial(sch.rfactor, a_loop(rng, sch, _reduction(rng, sch)), rng.randint(-2, 2))


def _reduction(rng: random.Random, sch: Schedule) -> Ref:
    """Some reduction where there is one, now and then another block."""
    names = [b.name for b in sch.state.tree.blocks.values() if b.init is not None]
    return sch.get_block(rng.choice(names)) if names and rng.random() < 0.9 else a_block(rng, sch)


STEPS = (Step("decompose_reduction", decompose_reduction), Step("rfactor", rfactor, 3))
