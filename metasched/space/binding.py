"""Loops on thread axes: which loops of a nest become blocks and threads of a GPU kernel."""

from __future__ import annotations

from math import prod

from metasched.errors import ScheduleError
from metasched.ir.expr import int_value
from metasched.ir.stmt import For, Stmt
from metasched.ir.walk import blocks, walk
from metasched.schedule.schedule import Schedule
from metasched.space.loop_choice import chain, nests, reducing_vars
from metasched.trace.instruction import Ref

LEAST_THREADS = 32
"""A warp: fewer threads leave lanes empty."""


def is_bound(stmt: Stmt) -> bool:
    """Whether a loop in a nest is bound to a thread axis."""
    return any(isinstance(node, For) and node.kind == "thread" for node in walk(stmt))


def free_chain(nest: Stmt) -> list[For]:
    """The outermost loops of a nest that are spatial for all blocks below and have no kind yet."""
    reducing = reducing_vars(nest)
    found: list[For] = []
    for loop in chain(nest):
        if loop.var in reducing or loop.kind != "serial" or loop.annotations:
            break
        found.append(loop)
    return found


def threads_for(jobs: int, most: int, blocks_wanted: int) -> int:
    """Threads of a block: as many as still give every multiprocessor a block, a warp at least."""
    threads = most
    while threads > LEAST_THREADS and -(-jobs // threads) < blocks_wanted:
        threads //= 2
    return threads


def bind_nest(schedule: Schedule, number: int, *, threads: int, blocks_wanted: int) -> None:
    """Spread the outer spatial loops of a nest over blocks and threads.

    A nest without such loops becomes a kernel of one thread.

    Args:
        schedule: is changed.
        number: of the nest under the root block.
        threads: most threads of a block.
        blocks_wanted: shrink blocks until there are so many.
    """
    nest = nests(schedule.state)[number]
    names = [loop.var.name for loop in free_chain(nest)]
    for depth in range(len(names), -1, -1):
        attempt = schedule.copy()
        try:
            _spread(attempt, number, depth, threads, blocks_wanted)
        except ScheduleError:
            if depth == 0:
                raise
            continue
        _spread(schedule, number, depth, threads, blocks_wanted)
        return


def _spread(schedule: Schedule, number: int, depth: int, threads: int, wanted: int) -> None:
    loops = _outer(schedule, number)[:depth]
    if not loops:
        loops = [_unit_loop(schedule, number)]
    extents = [int_value(schedule.state.loop(str(schedule.value(ref))).extent) for ref in loops]
    fused = loops[0] if len(loops) == 1 else schedule.fuse(*loops)
    jobs = None if None in extents else prod(e for e in extents if e is not None)
    size = threads if jobs is None else min(threads_for(jobs, threads, wanted), jobs)
    outer, inner = schedule.split(fused, (None, size))
    schedule.bind(outer, "blockIdx.x")
    schedule.bind(inner, "threadIdx.x")


def _outer(schedule: Schedule, number: int) -> list[Ref]:
    """Handles of the loops from a nest inwards that hold nothing but each other."""
    nest = nests(schedule.state)[number]
    depth = len(chain(nest))
    inside = blocks(nest)
    return list(schedule.get_loops(schedule.get_block(inside[0].name))[:depth])


def _unit_loop(schedule: Schedule, number: int) -> Ref:
    """A loop of one iteration around a whole nest."""
    loops = _outer(schedule, number)
    if loops:
        return schedule.add_unit_loop(loops[0])
    return schedule.add_unit_loop(schedule.get_block(blocks(nests(schedule.state)[number])[0].name))
