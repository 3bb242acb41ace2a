"""Steps of the primitives on the memory of buffers."""

from __future__ import annotations

import random
from functools import partial

from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref
from tests.core.schedule.steps.step import Proposal, Step, a_block


def set_scope(rng: random.Random, sch: Schedule) -> Proposal:
    scope = rng.choice(["global", "local", "shared", "nowhere"])
    return partial(sch.set_scope, producer(rng, sch), rng.choice([0, 0, 0, 1]), scope)


def storage_align(rng: random.Random, sch: Schedule) -> Proposal:
    axis, factor, offset = rng.randint(-2, 2), rng.choice([0, 1, 4, 8]), rng.randint(0, 3)
    return partial(sch.storage_align, producer(rng, sch), 0, axis, factor, offset)


def producer(rng: random.Random, sch: Schedule) -> Ref:
    """Mostly a block that writes an intermediate buffer."""
    params = sch.program.params
    names = [
        name for name, b in sch.state.tree.blocks.items()
        if any(w.buffer not in params for w in b.writes)
    ]  # fmt: skip
    return sch.get_block(rng.choice(names)) if names and rng.random() < 0.9 else a_block(rng, sch)


STEPS = (Step("set_scope", set_scope), Step("storage_align", storage_align))
