"""Loops on thread axes: which loops of a nest become blocks and threads of a GPU kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from metasched.analysis.kernels import GROUP_THREADS
from metasched.errors import ScheduleError
from metasched.ir.expr import TRUE, int_value
from metasched.ir.stmt import Block, For, Stmt, annotation
from metasched.ir.walk import blocks, expr_loads, walk
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.loop_choice import bound_store, chain, inner_loops, nests, reducing_vars
from metasched.space.patterns import has_condition, is_reduction, single_store, stride
from metasched.trace.instruction import Ref

ACROSS: Final = "meta_schedule.cross_thread_reduction"
"""Note on a reduction whose terms are shared among the threads of a block."""

LEAST_THREADS: Final = 32
"""A warp: fewer threads leave lanes empty."""

_AXES: Final = ("threadIdx.z", "threadIdx.y", "threadIdx.x")
"""Thread axes, the one whose threads are neighbours last."""


@dataclass(frozen=True, slots=True)
class Threads:
    """How to spread a nest.

    Attributes:
        threads: most threads of a block.
        vector: elements that a thread handles side by side, where that is possible.
        blocks_wanted: shrink blocks until there are so many; 1 to leave them as they are.
    """

    threads: int
    vector: int = 1
    blocks_wanted: int = 1


def is_bound(stmt: Stmt) -> bool:
    """Whether a loop in a nest is bound to a thread axis."""
    return any(isinstance(node, For) and node.kind == "thread" for node in walk(stmt))


def thread_extents(state: State, block: Block) -> dict[str, int]:
    """The number of threads along each axis that is bound around a block.

    A note says how many along x take part where only instructions of groups of threads use them.
    """
    found = {loop.thread: int_value(loop.extent) for loop in state.loops_above(block)}
    group = annotation(block.annotations, GROUP_THREADS)
    if isinstance(group, int) and "threadIdx.x" not in found:
        found["threadIdx.x"] = group
    return {axis: size for axis in _AXES if (size := found.get(axis)) is not None}


def threads_for(jobs: int, most: int, blocks_wanted: int) -> int:
    """Threads of a block: as many as still give every multiprocessor a block, a warp at least."""
    threads = most
    while threads > LEAST_THREADS and -(-jobs // threads) < blocks_wanted:
        threads //= 2
    return threads


def bind_nest(schedule: Schedule, number: int, how: Threads) -> None:
    """Spread a nest over blocks and threads.

    The outer spatial loops become both. Where a reduction is noted to go across threads, they
    become blocks, and the loops inside become threads. A nest without outer spatial loops becomes
    a kernel of one block.

    Args:
        schedule: is changed.
        number: of the nest under the root block.
        how: sizes.
    """
    nest = nests(schedule.state)[number]
    across = any(annotation(block.annotations, ACROSS) is not None for block in blocks(nest))
    for depth in range(len(_free_chain(nest)), -1, -1):
        attempt = schedule.copy()
        try:
            (_across if across else _spread)(attempt, number, depth, how)
        except ScheduleError:
            if depth == 0:
                raise
            continue
        (_across if across else _spread)(schedule, number, depth, how)
        return


def _free_chain(nest: Stmt) -> list[For]:
    """The outermost loops of a nest that are spatial for all blocks below and have no kind yet."""
    reducing = reducing_vars(nest)
    found: list[For] = []
    for loop in chain(nest):
        if loop.var in reducing or loop.kind != "serial" or loop.annotations:
            break
        found.append(loop)
    return found


def _spread(schedule: Schedule, number: int, depth: int, how: Threads) -> None:
    width = _vector(schedule.state, nests(schedule.state)[number], depth, how.vector)
    fused = _outermost(schedule, number, depth)
    if width > 1:
        fused, lanes = schedule.split(fused, (None, width))
        schedule.vectorize(lanes)
    jobs = int_value(schedule.state.loop(str(schedule.value(fused))).extent)
    size = how.threads
    if jobs is not None:
        size = min(threads_for(jobs, size, how.blocks_wanted), jobs)
    outer, inner = schedule.split(fused, (None, size))
    schedule.bind(outer, "blockIdx.x")
    schedule.bind(inner, "threadIdx.x")


def _across(schedule: Schedule, number: int, depth: int, how: Threads) -> None:
    schedule.bind(_outermost(schedule, number, depth), "blockIdx.x")
    for name in [block.name for block in blocks(nests(schedule.state)[number])]:
        block = schedule.get_block(name)
        if annotation(schedule.state.block(name).annotations, ACROSS) is not None:
            schedule.unannotate(block, ACROSS)
        found = schedule.state.block(name)
        inner = _threads_of(schedule, found, block)
        schedule.bind(schedule.split(inner, (None, how.threads))[1], "threadIdx.x")


def _threads_of(schedule: Schedule, found: Block, block: Ref) -> Ref:
    """One innermost loop for what threads share: the terms of a sum, or elements of a result."""
    own = inner_loops(schedule.state, found)
    reducing = reducing_vars(found)
    shared = [loop for loop in own if (loop.var in reducing) == is_reduction(found)]
    if not shared:
        return schedule.add_unit_loop(block)
    handles = dict(zip(own, schedule.get_loops(block)[-len(own) :], strict=True))
    rest = [loop for loop in own if loop not in shared]
    if own != [*rest, *shared]:
        schedule.reorder(*(handles[loop] for loop in (*rest, *shared)))
    return schedule.fuse(*(handles[loop] for loop in shared))


def _outermost(schedule: Schedule, number: int, depth: int) -> Ref:
    """One loop for the first ``depth`` ones of a nest, a unit loop if there are none."""
    nest = nests(schedule.state)[number]
    inside = schedule.get_block(blocks(nest)[0].name)
    loops = schedule.get_loops(inside)[: len(chain(nest))]
    if not depth:
        return schedule.add_unit_loop(loops[0] if loops else inside)
    return loops[0] if depth == 1 else schedule.fuse(*loops[:depth])


def _vector(state: State, nest: Stmt, depth: int, most: int) -> int:
    """How many neighbouring elements a thread may handle at a time: all accesses go side by side.

    Only nests of one spatial block qualify whose last loop is among the ``depth`` fused ones.
    """
    loops = chain(nest)
    block = loops[-1].body if loops else nest
    if depth != len(loops) or not isinstance(block, Block) or not loops:
        return 1
    store = single_store(block)
    length = int_value(loops[-1].extent)
    if store is None or length is None or has_condition(block) or block.predicate != TRUE:
        return 1
    bound = bound_store(block, store)
    steps = [stride(access, loops[-1].var) for access in (bound, *expr_loads(bound.value))]
    if any(step is None or int_value(step) not in (0, 1) for step in steps):
        return 1
    size = max(a.buffer.dtype.bytes for a in (bound, *expr_loads(bound.value)))
    return max(w for w in (1, 2, 4, 8, 16) if w <= most and w * size <= 16 and length % w == 0)
