"""Steps of the primitives that move data."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref
from tests.core.schedule.steps.step import Proposal, Step, a_block, a_loop


def cache_read(rng: random.Random, sch: Schedule) -> Proposal:
    block = a_block(rng, sch)
    readers = [block] if rng.random() < 0.3 else []
    return partial(sch.cache_read, block, rng.randint(0, 2), "local", readers)


def cache_write(rng: random.Random, sch: Schedule) -> Proposal:
    block = a_block(rng, sch)
    readers = [r for r in sch.get_consumers(block) if rng.random() < 0.3]
    return partial(sch.cache_write, block, rng.randint(0, 1), "local", readers)


def cache_inplace(rng: random.Random, sch: Schedule) -> Proposal:
    block = an_update(rng, sch)
    return partial(sch.cache_inplace, block, rng.randint(0, 1), "local")


def an_update(rng: random.Random, sch: Schedule) -> Ref:
    """Mostly a block that reads what it writes; a reduction is made one."""
    for block in sch.state.tree.blocks.values():
        if block.init is not None and sch.state.loops_above(block) and rng.random() < 0.5:
            ref = sch.get_block(block.name)
            sch.decompose_reduction(ref, sch.get_loops(ref)[0])
            return ref
    return a_block(rng, sch)


def cache_index(rng: random.Random, sch: Schedule) -> Proposal:
    return partial(sch.cache_index, a_block(rng, sch), "local", cse_thresh=rng.randint(0, 2))


def read_at(rng: random.Random, sch: Schedule) -> Proposal:
    block = a_block(rng, sch)
    return partial(sch.read_at, a_loop(rng, sch, block), block, rng.randint(0, 1), "local")


def write_at(rng: random.Random, sch: Schedule) -> Proposal:
    block = a_block(rng, sch)
    return partial(sch.write_at, a_loop(rng, sch, block), block, 0, "local")


def reindex(rng: random.Random, sch: Schedule) -> Proposal:
    block, side = a_block(rng, sch), rng.choice(["read", "write"])
    named = [r.buffer.name for r in sch.get(block).reads]
    if named and rng.random() < 0.3:
        return partial(sch.reindex, block, rng.choice(named))
    return partial(sch.reindex, block, (side, rng.choice([0, 0, 0, 1, 2])))


def reindex_cache_read(rng: random.Random, sch: Schedule) -> Proposal:
    block = a_block(rng, sch)
    index_map = _index_map(rng, range(len(sch.get(block).iters)), len(sch.get(block).iters))
    return partial(sch.reindex_cache_read, block, rng.randint(0, 1), "local", index_map)


def reindex_cache_write(rng: random.Random, sch: Schedule) -> Proposal:
    block = a_block(rng, sch)
    iters = sch.get(block).iters
    spatial = [k for k, it in enumerate(iters) if it.kind == "spatial" or rng.random() < 0.05]
    index_map = _index_map(rng, spatial, len(iters))
    return partial(sch.reindex_cache_write, block, rng.choice([0, 0, 0, 1]), "local", index_map)


def _index_map(
    rng: random.Random, positions: Sequence[int], count: int
) -> str | Sequence[int] | Callable[..., Any]:
    """A layout of most of some iterations: as a text, a function or positions."""
    fewest = max(len(positions) - (rng.random() < 0.3), min(len(positions), 1))
    order = rng.sample(list(positions), rng.randint(fewest, len(positions)))
    if rng.random() < 0.3:
        return order
    if rng.random() < 0.3:
        return lambda *i: [i[k] for k in order]
    outputs: list[str] = []
    for k in order:
        size = rng.randint(2, 5)
        outputs += [f"i{k} // {size}", f"i{k} % {size}"] if rng.random() < 0.4 else [f"i{k}"]
    rng.shuffle(outputs)
    return f"{', '.join(f'i{k}' for k in range(count))} -> [{', '.join(outputs)}]"


STEPS = (
    Step("cache_index", cache_index),
    Step("cache_inplace", cache_inplace),
    Step("cache_read", cache_read),
    Step("cache_write", cache_write),
    Step("read_at", read_at),
    Step("reindex", reindex),
    Step("reindex_cache_read", reindex_cache_read),
    Step("reindex_cache_write", reindex_cache_write),
    Step("write_at", write_at),
)
