"""Steps of the primitives on loops."""

from __future__ import annotations

import random
from functools import partial

from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref
from tests.core.schedule.steps.step import Proposal, Step, a_block, a_loop, loops_of


def split(rng: random.Random, sch: Schedule) -> Proposal:
    loop = a_loop(rng, sch)
    if rng.random() < 0.4:
        return partial(sch.split, loop, sch.sample_perfect_tile(loop, rng.randint(1, 3)))
    factors: list[int | None] = [rng.randint(1, 5) for _ in range(rng.randint(1, 2))]
    if rng.random() < 0.9:
        factors.insert(rng.randint(0, len(factors)), None)
    return partial(sch.split, loop, factors)


def fuse(rng: random.Random, sch: Schedule) -> Proposal:
    loops = loops_of(sch, a_block(rng, sch))
    start = rng.randrange(len(loops))
    return partial(sch.fuse, *loops[start : start + rng.randint(1, 3)])


def loop_partition(rng: random.Random, sch: Schedule) -> Proposal:
    factors: list[int | None] = [rng.randint(0, 4) for _ in range(rng.randint(0, 2))]
    if rng.random() < 0.7:
        factors.insert(rng.randint(0, len(factors)), None)
    keep = rng.random() < 0.7
    return partial(sch.loop_partition, a_loop(rng, sch), factors, preserve_unit_iters=keep)


def merge(rng: random.Random, sch: Schedule) -> Proposal:
    """Mostly loops of the same extent at the same depth of two nests."""
    depth, count = rng.randint(0, 2), rng.choice([1, 2, 2, 2, 3])
    nests = [loops_of(sch, sch.get_block(name)) for name in list(sch.state.tree.blocks)[1:]]
    at_depth = [loops[depth] for loops in nests if len(loops) > depth]
    alike: dict[str, list[Ref]] = {}
    for loop in dict.fromkeys(at_depth):
        alike.setdefault(str(sch.get(loop).extent), []).append(loop)
    several = [loops for loops in alike.values() if len(loops) > 1]
    loops = rng.choice(several) if several and rng.random() < 0.9 else at_depth
    return partial(sch.merge, *rng.sample(loops, min(count, len(loops))))


def reorder(rng: random.Random, sch: Schedule) -> Proposal:
    loops = loops_of(sch, a_block(rng, sch), 2)
    chosen: list[Ref] = rng.sample(loops, rng.randint(1, len(loops)))
    return partial(sch.reorder, *chosen)


def reorder_block_iter_var(rng: random.Random, sch: Schedule) -> Proposal:
    block = a_block(rng, sch)
    order = list(range(len(sch.get(block).iters)))
    rng.shuffle(order)
    if order and rng.random() < 0.1:
        order.append(order[0])
    return partial(sch.reorder_block_iter_var, block, order)


def add_unit_loop(rng: random.Random, sch: Schedule) -> Proposal:
    return partial(sch.add_unit_loop, a_loop(rng, sch) if rng.random() < 0.5 else a_block(rng, sch))


def parallel(rng: random.Random, sch: Schedule) -> Proposal:
    return partial(sch.parallel, a_loop(rng, sch))


def vectorize(rng: random.Random, sch: Schedule) -> Proposal:
    loops = loops_of(sch, a_block(rng, sch))
    return partial(sch.vectorize, loops[-1] if rng.random() < 0.8 else rng.choice(loops))


def bind(rng: random.Random, sch: Schedule) -> Proposal:
    axis = rng.choice(["blockIdx.x", "blockIdx.y", "threadIdx.x", "threadIdx.x", "vthread", "i"])
    return partial(sch.bind, a_loop(rng, sch), axis)


def unroll(rng: random.Random, sch: Schedule) -> Proposal:
    return partial(sch.unroll, a_loop(rng, sch))


STEPS = (
    Step("add_unit_loop", add_unit_loop, 1),
    Step("bind", bind),
    Step("fuse", fuse),
    Step("loop_partition", loop_partition),
    Step("merge", merge, 4),
    Step("parallel", parallel),
    Step("reorder", reorder, 3),
    Step("reorder_block_iter_var", reorder_block_iter_var, 1),
    Step("split", split, 4),
    Step("unroll", unroll, 1),
    Step("vectorize", vectorize),
)
