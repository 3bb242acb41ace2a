"""Steps of the primitives on the memory of buffers."""

from __future__ import annotations

import random
from contextlib import suppress
from functools import partial

from metasched.errors import ScheduleError
from metasched.ir.expr import Var
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref
from tests.core.schedule.steps.step import Proposal, Step, a_block, loops_of


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


def unsafe_set_dtype(rng: random.Random, sch: Schedule) -> Proposal:
    """Types that hold all values, so that the result stays."""
    block, index = producer(rng, sch), rng.choice([0, 0, 0, 1])
    writes = sch.get(block).writes
    dtype = str(writes[min(index, len(writes) - 1)].buffer.dtype)
    wider = {"float32": "float64", "int32": "int64"}.get(dtype, dtype)
    return partial(sch.unsafe_set_dtype, block, index, rng.choice([wider, wider, "half"]))


def unsafe_hide_buffer_access(rng: random.Random, sch: Schedule) -> Proposal:
    """Reads of inputs, which nothing depends on: others would let later steps go wrong."""
    block = a_block(rng, sch)
    inputs = sch.program.inputs
    safe = [k for k, r in enumerate(sch.get(block).reads) if r.buffer in inputs]
    chosen = rng.sample(safe, rng.randint(0, len(safe)))
    return partial(
        sch.unsafe_hide_buffer_access, block, rng.choice(["read", "read", "other"]),
        [*chosen, 9] if rng.random() < 0.1 else chosen,
    )  # fmt: skip


def annotate_buffer_access(rng: random.Random, sch: Schedule) -> Proposal:
    """The region that is known, or one that is wider."""
    block = a_block(rng, sch)
    verb = rng.choice(["read", "write"])
    found = sch.get(block)
    regions = found.reads if verb == "read" else found.writes
    index = rng.randint(0, len(regions))
    ranges = regions[index].ranges if index < len(regions) else ()
    bounds = [str(e) for low, extent in ranges for e in (low, low + extent + rng.randint(-1, 1))]
    names = ", ".join(it.var.name for it in found.iters)
    text = f"{names} -> [{', '.join(bounds)}]"
    return partial(sch.annotate_buffer_access, block, index, verb, text)


def rolling_buffer(rng: random.Random, sch: Schedule) -> Proposal:
    """Mostly a producer, or a cache, at a loop of a reader of windows."""
    windows = [
        (reader.name, index)
        for reader in sch.state.tree.blocks.values()
        for index, read in enumerate(reader.reads)
        if any(not isinstance(low, Var) for low, _ in read.ranges)
    ]
    if not windows or rng.random() < 0.1:
        return partial(sch.rolling_buffer, producer(rng, sch), rng.choice([0, 1]))
    name, index = rng.choice(windows)
    reader = sch.get_block(name)
    loops, producers = loops_of(sch, reader), sch.get_producers(reader)
    cached = not producers or rng.random() < 0.6
    block = sch.cache_read(reader, index, "global") if cached else rng.choice(producers)
    for loop in rng.sample(loops, len(loops)):
        trial = sch.copy()
        with suppress(ScheduleError):
            trial.compute_at(block, loop)
            trial.rolling_buffer(block, 0)
            sch.compute_at(block, loop)
            break
    return partial(sch.rolling_buffer, block, 0)


STEPS = (
    Step("annotate_buffer_access", annotate_buffer_access),
    Step("rolling_buffer", rolling_buffer, 4),
    Step("set_scope", set_scope),
    Step("storage_align", storage_align),
    Step("unsafe_hide_buffer_access", unsafe_hide_buffer_access),
    Step("unsafe_set_dtype", unsafe_set_dtype),
)
