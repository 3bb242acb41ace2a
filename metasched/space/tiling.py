"""Loops split and interleaved by a structure such as "SSRSRS", for the rules that tile blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from metasched.ir.expr import int_value
from metasched.schedule.schedule import Schedule
from metasched.space.patterns import consumers, iter_loops, same_point
from metasched.trace.instruction import Ref

_PADDED_TO = 8

Tiles: TypeAlias = "Mapping[str, tuple[int | None, ...]]"
"""Factors of each loop by name, outermost first; None for what is left."""


@dataclass(frozen=True, slots=True)
class Tiled:
    """A tiled draft: its block, the loops of each level, and those of a fixed tile inside."""

    schedule: Schedule
    block: Ref
    levels: tuple[tuple[Ref, ...], ...]
    inside: tuple[Ref, ...] = ()

    def branch(self) -> Tiled:
        """An independent draft at the same point."""
        return replace(self, schedule=self.schedule.copy())

    def last(self, level: int) -> Ref:
        """The innermost loop of the first ``level`` levels."""
        return [loop for loops in self.levels[:level] for loop in loops][-1]


def tile(
    schedule: Schedule,
    block: Ref,
    structure: str,
    *,
    longest: Mapping[str, int],
    tiles: Tiles,
    pad_extents: bool,
    inside: Mapping[str, int] | None = None,
) -> Tiled:
    """Split the loops of a block and put the parts in the order of the levels.

    Args:
        schedule: is changed.
        block: each of its variables is bound to a loop of its own.
        structure: S for a level of the spatial loops, R for one of the reduction loops.
        longest: most iterations of the innermost part, by letter.
        tiles: factors to use in place of sampled ones.
        pad_extents: sample the tiles of loops that no short tile divides, such as 109, from the
            next multiple of 8; the surplus iterations are guarded.
        inside: sizes of a tile that is split off before and stands inside all levels, by loop, in
            the order of its loops.
    """
    fixed = dict(inside or {})
    found = schedule.state.block(str(schedule.value(block)))
    bound = iter_loops(schedule.state, found) or ()
    kinds = {loop.var.name: it.kind for loop, it in zip(bound, found.iters, strict=True)}
    levels: list[list[Ref]] = [[] for _ in structure]
    tail: dict[str, Ref] = {}
    for loop in schedule.get_loops(block):
        name = str(schedule.value(loop))
        letter = "S" if kinds[name] == "spatial" else "R"
        if name in fixed:
            loop, tail[name] = schedule.split(loop, (None, fixed[name]))
        chosen = tiles.get(name)
        at = [k for k, level in enumerate(structure) if level == letter]
        parts = _split(schedule, loop, len(at), longest[letter], chosen, pad_extents=pad_extents)
        for level, part in zip(at, parts, strict=False):
            levels[level].append(part)
    last = tuple(tail[name] for name in fixed)
    schedule.reorder(*(loop for level in levels for loop in level), *last)
    return Tiled(schedule, block, tuple(tuple(level) for level in levels), last)


def _split(
    schedule: Schedule,
    loop: Ref,
    parts: int,
    longest: int,
    factors: tuple[int | None, ...] | None,
    *,
    pad_extents: bool,
) -> tuple[Ref, ...]:
    """One loop for each level; a loop of one iteration stays whole, in the outermost one."""
    name = str(schedule.value(loop))
    extent = int_value(schedule.state.loop(name).extent)
    if extent == 1:
        return (loop,)
    if factors is not None:
        return schedule.split(loop, factors)
    if pad_extents and parts > 2 and extent is not None and _divides_poorly(extent):
        loop = schedule.fuse(*schedule.split(loop, (None, _PADDED_TO)))
    return schedule.split(loop, schedule.sample_perfect_tile(loop, parts, longest))


def _divides_poorly(extent: int) -> bool:
    """Whether a loop is long and no length of a register tile divides it."""
    return extent > 2 * _PADDED_TO and all(extent % d for d in range(4, 2 * _PADDED_TO + 1))


def has_elementwise_reader(schedule: Schedule, block: Ref) -> bool:
    """Whether one block alone reads a result, and each element just where it writes."""
    found = schedule.state.block(str(schedule.value(block)))
    readers = consumers(schedule.state, found)
    return len(readers) == 1 and same_point(readers[0], found.writes[0].buffer)
