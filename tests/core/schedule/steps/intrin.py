"""Steps of the primitives that make a block of statements, and an intrinsic of a block."""

from __future__ import annotations

import random
from functools import partial

from metasched.schedule.schedule import Schedule
from tests.core.schedule.steps.step import Proposal, Step, a_loop


def blockize(rng: random.Random, sch: Schedule) -> Proposal:
    keep = rng.random() < 0.5
    if rng.random() < 0.7:
        return partial(sch.blockize, a_loop(rng, sch), preserve_unit_iters=keep)
    blocks = sch.get_child_blocks(sch.get_block(sch.program.root.name))
    start = rng.randrange(len(blocks))
    return partial(sch.blockize, list(blocks[start : start + rng.randint(1, 3)]))


STEPS = (Step("blockize", blockize, 3),)
