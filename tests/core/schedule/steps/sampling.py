"""Steps of the sampling primitives."""

from __future__ import annotations

import random
from functools import partial

from metasched.schedule.schedule import Schedule
from tests.core.schedule.steps.step import Proposal, Step, a_block, a_loop, extent


def sample_categorical(rng: random.Random, sch: Schedule) -> Proposal:
    candidates = rng.sample(range(9), rng.randint(1, 3))
    probs = [1 / len(candidates)] * rng.choice([1, len(candidates), len(candidates)])
    return partial(sch.sample_categorical, candidates, probs)


def sample_perfect_tile(rng: random.Random, sch: Schedule) -> Proposal:
    loop, largest = a_loop(rng, sch), rng.choice([0, 1, 4, 64])
    return partial(sch.sample_perfect_tile, loop, rng.randint(0, 4), largest)


def sample_partitioned_tile(rng: random.Random, sch: Schedule) -> Proposal:
    loop, parts = a_loop(rng, sch), rng.randint(1, 3)
    divisors = [d for d in range(1, 6) if extent(sch, loop) % d == 0]
    inner = rng.choice([*divisors, 7])
    return partial(sch.sample_partitioned_tile, loop, parts, rng.randint(0, parts), inner)


def sample_compute_location(rng: random.Random, sch: Schedule) -> Proposal:
    return partial(sch.sample_compute_location, a_block(rng, sch, root=True))


STEPS = (
    Step("sample_categorical", sample_categorical, 1),
    Step("sample_compute_location", sample_compute_location, 1),
    Step("sample_partitioned_tile", sample_partitioned_tile, 1),
    Step("sample_perfect_tile", sample_perfect_tile, 1),
)
