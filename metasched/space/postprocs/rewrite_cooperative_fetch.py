"""rewrite_cooperative_fetch: the threads of a block fill a copy in shared memory together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd
from typing import ClassVar, Final, final

from metasched.ir.expr import Expr, Load, Var, const, floordiv, int_value
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, For, Store, annotation
from metasched.ir.walk import expr_loads, free_vars, substitute
from metasched.schedule.schedule import Schedule
from metasched.space.binding import thread_extents
from metasched.space.loop_choice import bound_store, inner_loops
from metasched.space.patterns import has_condition, single_store
from metasched.space.postprocs.postproc import POSTPROCS, AbstractPostproc, Rejected
from metasched.space.rules.multi_level_tiling_gpu import FETCH, PAD
from metasched.target import Target
from metasched.trace.instruction import Ref

_PAD_BYTES: Final = 16


@final
@dataclass(frozen=True, slots=True)
class RewriteCooperativeFetch(AbstractPostproc):
    """Share the iterations of noted copies among threads, several neighbouring elements to each."""

    name: ClassVar[str] = "rewrite_cooperative_fetch"

    def apply(self, schedule: Schedule, target: Target) -> Schedule | Rejected:
        """Take the note off each copy and bind its loops."""
        for name in [block.name for block in schedule.state.tree.blocks.values()]:
            note = annotation(schedule.state.block(name).annotations, FETCH)
            if isinstance(note, int | float):
                block = schedule.get_block(name)
                schedule.unannotate(block, FETCH)
                _pad(schedule, block)
                _share(schedule, block, int(note))
        return schedule


def _pad(schedule: Schedule, block: Ref) -> None:
    """Make rows longer by a load where that is noted, so that they begin on other banks."""
    found = schedule.state.block(str(schedule.value(block)))
    note = annotation(found.annotations, PAD)
    if note is None:
        return
    schedule.unannotate(block, PAD)
    buffer = found.writes[0].buffer
    if note and len(buffer.shape) > 1:
        length = max(_PAD_BYTES // buffer.dtype.bytes, 1)
        schedule.storage_align(block, 0, -2, 2 * length, length)


def _share(schedule: Schedule, block: Ref, length: int) -> None:
    state = schedule.state
    found = state.block(str(schedule.value(block)))
    own = inner_loops(state, found)
    if not own:
        return
    threads = thread_extents(state, found)
    width = _vector(found, own, length)
    handles = schedule.get_loops(block)[-len(own) :]
    fused = handles[0] if len(handles) == 1 else schedule.fuse(*handles)
    if width > 1:
        fused, lanes = schedule.split(fused, (None, width))
        schedule.vectorize(lanes)
    parts = schedule.split(fused, (None, *threads.values()))
    for loop, axis in zip(parts[1:], threads, strict=True):
        schedule.bind(loop, axis)


def _vector(block: Block, own: list[For], length: int) -> int:
    """How many neighbouring elements each thread copies at a time.

    They must lie side by side in both buffers, and no vector may go past the end of a row.
    """
    store = single_store(block)
    rows = [loop for loop in own if int_value(loop.extent) != 1]
    if store is None or not rows or has_condition(block):
        return 1
    row = rows[-1]
    if row.var in free_vars(block.predicate):
        return 1
    bound = bound_store(block, store)
    accesses = (bound, *expr_loads(bound.value))
    width = gcd(length, int_value(row.extent) or 1)
    known = {loop.var: loop.extent for loop in own}
    while width > 1 and not all(_is_whole(a, row, width, known) for a in accesses):
        width //= 2
    return width


def _is_whole(access: Load | Store, row: For, width: int, known: Mapping[Var, Expr]) -> bool:
    """Whether each run of ``width`` iterations of a loop touches elements side by side."""
    lane, run = Var("lane of a vector"), Var("vector of a row")
    ranges = {**known, lane: const(width), run: floordiv(row.extent, width)}
    simplify = Simplifier(ranges)
    address: Expr = const(0)
    for index, size in zip(access.indices, access.buffer.shape, strict=True):
        address = address * size + substitute(index, {row.var: run * width + lane})
    first = substitute(address, {lane: const(0)})
    return simplify(address - first - lane) == const(0)


POSTPROCS.register(RewriteCooperativeFetch.name, RewriteCooperativeFetch)
