"""Steps of the primitives that say where a block is computed."""

from __future__ import annotations

import random
from functools import partial

from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref
from tests.core.schedule.steps.step import Proposal, Step, a_block, a_loop


def compute_at(rng: random.Random, sch: Schedule) -> Proposal:
    block = a_block(rng, sch)
    if rng.random() < 0.3:
        return partial(sch.compute_at, block, sch.sample_compute_location(block))
    return partial(sch.compute_at, block, *_place(rng, sch, sch.get_consumers(block)))


def reverse_compute_at(rng: random.Random, sch: Schedule) -> Proposal:
    block = a_block(rng, sch)
    return partial(sch.reverse_compute_at, block, *_place(rng, sch, sch.get_producers(block)))


def compute_inline(rng: random.Random, sch: Schedule) -> Proposal:
    return partial(sch.compute_inline, a_block(rng, sch))


def reverse_compute_inline(rng: random.Random, sch: Schedule) -> Proposal:
    return partial(sch.reverse_compute_inline, a_block(rng, sch))


def fuse_reduction_epilogue(rng: random.Random, sch: Schedule) -> Proposal:
    """Mostly a reduction and what follows it."""
    reductions = [name for name, b in sch.state.tree.blocks.items() if b.init is not None]
    if not reductions or rng.random() < 0.1:
        return partial(sch.fuse_reduction_epilogue, a_block(rng, sch), a_block(rng, sch))
    block = sch.get_block(rng.choice(reductions))
    followers = sch.get_consumers(block)
    epilogue = rng.choice(followers) if followers else a_block(rng, sch)
    return partial(sch.fuse_reduction_epilogue, block, epilogue)


def _place(rng: random.Random, sch: Schedule, near: tuple[Ref, ...]) -> tuple[Ref, bool, int]:
    """A loop, mostly of a neighbour; whether unit loops are kept; an index."""
    loop = a_loop(rng, sch, rng.choice(near) if near and rng.random() < 0.8 else None)
    return loop, rng.random() < 0.5, rng.choice([-1, -2, 0, 1])


STEPS = (
    Step("compute_at", compute_at, 3),
    Step("compute_inline", compute_inline),
    Step("fuse_reduction_epilogue", fuse_reduction_epilogue, 3),
    Step("reverse_compute_at", reverse_compute_at, 3),
    Step("reverse_compute_inline", reverse_compute_inline),
)
