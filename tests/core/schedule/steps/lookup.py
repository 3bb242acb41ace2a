"""Steps of the lookups."""

from __future__ import annotations

import random
from functools import partial

from metasched.schedule.schedule import Schedule
from tests.core.schedule.steps.step import Proposal, Step, a_block, a_loop


def get_block(rng: random.Random, sch: Schedule) -> Proposal:
    return partial(sch.get_block, rng.choice([*sch.state.tree.blocks, "nowhere"]))


def get_loops(rng: random.Random, sch: Schedule) -> Proposal:
    return partial(sch.get_loops, a_block(rng, sch, root=True))


def get_child_blocks(rng: random.Random, sch: Schedule) -> Proposal:
    target = a_loop(rng, sch) if rng.random() < 0.5 else a_block(rng, sch, root=True)
    return partial(sch.get_child_blocks, target)


def get_producers(rng: random.Random, sch: Schedule) -> Proposal:
    return partial(sch.get_producers, a_block(rng, sch))


def get_consumers(rng: random.Random, sch: Schedule) -> Proposal:
    return partial(sch.get_consumers, a_block(rng, sch))


def get_output_blocks(rng: random.Random, sch: Schedule) -> Proposal:
    return partial(sch.get_output_blocks, a_block(rng, sch, root=True))


STEPS = (
    Step("get_block", get_block, 1),
    Step("get_child_blocks", get_child_blocks, 1),
    Step("get_consumers", get_consumers, 1),
    Step("get_loops", get_loops, 1),
    Step("get_output_blocks", get_output_blocks, 1),
    Step("get_producers", get_producers, 1),
)
