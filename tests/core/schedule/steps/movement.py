"""Steps of the primitives that move data."""

from __future__ import annotations

import random
from functools import partial

from metasched.schedule.schedule import Schedule
from tests.core.schedule.steps.step import Proposal, Step, a_block


def cache_read(rng: random.Random, sch: Schedule) -> Proposal:
    return partial(sch.cache_read, a_block(rng, sch), rng.randint(0, 2), "local")


def cache_write(rng: random.Random, sch: Schedule) -> Proposal:
    return partial(sch.cache_write, a_block(rng, sch), rng.randint(0, 1), "local")


def reindex(rng: random.Random, sch: Schedule) -> Proposal:
    block, side = a_block(rng, sch), rng.choice(["read", "write"])
    named = [r.buffer.name for r in sch.get(block).reads]
    if named and rng.random() < 0.3:
        return partial(sch.reindex, block, rng.choice(named))
    return partial(sch.reindex, block, (side, rng.choice([0, 0, 0, 1, 2])))


def reindex_cache_read(rng: random.Random, sch: Schedule) -> Proposal:
    block = a_block(rng, sch)
    count = len(sch.get(block).iters)
    order = rng.sample(range(count), rng.randint(min(count, 1), count))
    return partial(sch.reindex_cache_read, block, rng.randint(0, 1), "local", order)


STEPS = (
    Step("cache_read", cache_read),
    Step("cache_write", cache_write),
    Step("reindex", reindex),
    Step("reindex_cache_read", reindex_cache_read),
)
