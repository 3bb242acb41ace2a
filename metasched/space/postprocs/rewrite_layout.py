"""rewrite_layout: an operand is laid out in the order in which the tiles read it.

The digits that the loops of a tiled block count become the dimensions of a packed copy, outermost
loop first, so that the block runs through memory from one end to the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, cast, final

from metasched.analysis.facts import terms
from metasched.ir.expr import Expr, Var, int_value
from metasched.ir.stmt import Block, annotation
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.patterns import body_loads, is_reduction
from metasched.space.postprocs.postproc import POSTPROCS, AbstractPostproc, Rejected
from metasched.target import Target

LAYOUT_FREE: Final = "layout_free_buffers"
"""On the root block: numbers of the parameters whose layout may be changed."""

PREPROC: Final = "meta_schedule.layout_rewrite_preproc"
"""On the block that packs an operand."""


@final
@dataclass(frozen=True, slots=True)
class RewriteLayout(AbstractPostproc):
    """Pack operands for the reductions that read them, before everything else.

    Operands are those that the root block's annotation `layout_free_buffers` numbers, and those
    that are named here. The copy is part of the program and of its time.

    Attributes:
        buffers: names of further buffers.
    """

    name: ClassVar[str] = "rewrite_layout"
    buffers: tuple[str, ...] = ()

    def apply(self, schedule: Schedule, target: Target) -> Schedule | Rejected:
        """Pack each operand for each reduction that reads it by plain indices."""
        for block, buffer, text in list(self._plans(schedule)):
            copy = schedule.reindex_cache_read(schedule.get_block(block), buffer, "global", text)
            schedule.annotate(copy, PREPROC, 1)
        return schedule

    def _plans(self, schedule: Schedule) -> Iterator[tuple[str, str, str]]:
        """Blocks, the buffers to pack for them, and index maps."""
        wanted = self._wanted(schedule)
        for block in schedule.state.tree.blocks.values() if wanted else ():
            for number, region in enumerate(block.reads if is_reduction(block) else ()):
                if region.buffer.name in wanted:
                    text = _index_map(schedule.state, block, number)
                    if text is not None:
                        yield block.name, region.buffer.name, text

    def _wanted(self, schedule: Schedule) -> set[str]:
        program = schedule.program
        noted = annotation(program.root.annotations, LAYOUT_FREE)
        numbers = cast("tuple[object, ...]", noted) if isinstance(noted, tuple) else (noted,)
        params = program.params
        free = {params[n].name for n in numbers if isinstance(n, int) and 0 <= n < len(params)}
        return {*self.buffers, *free}


@dataclass(frozen=True, slots=True)
class _Digit:
    """``v{position} // low % extent``, counted by a loop of some depth."""

    position: int
    low: int
    extent: int
    depth: int

    def __str__(self) -> str:
        return f"v{self.position} // {self.low} % {self.extent}"


def _index_map(state: State, block: Block, number: int) -> str | None:
    """Where each element goes; None where it lies so already, or is not read by plain indices."""
    loads = set(body_loads(block, block.reads[number].buffer))
    position: Mapping[Expr, int] = {it.var: k for k, it in enumerate(block.iters)}
    if len(loads) != 1:
        return None
    read = [position.get(index) for index in loads.pop().indices]
    if None in read or len(set(read)) != len(read):
        return None
    digits = [d for k in read if k is not None for d in _digits(state, block, k)]
    ordered = sorted(digits, key=lambda digit: digit.depth)
    if ordered == digits:
        return None
    given = ", ".join(f"v{k}" for k in range(len(block.iters)))
    return f"{given} -> [{', '.join(map(str, ordered))}]"


def _digits(state: State, block: Block, position: int) -> Iterator[_Digit]:
    """What the loops count of an iteration, in the order of its value, the largest first.

    An iteration that loops do not make up digit by digit is one digit of the outermost of them.
    """
    it = block.iters[position]
    loops = state.loops_above(block)
    depth = {loop.var: k for k, loop in enumerate(loops)}
    whole = int_value(it.extent) or 0
    parts: list[tuple[int, Var]] = []
    for coefficient, atoms in terms(state.simplifier(block)(it.binding)):
        if len(atoms) != 1 or not isinstance(atoms[0], Var) or atoms[0] not in depth:
            break
        parts.append((coefficient, atoms[0]))
    found: list[_Digit] = []
    low = 1
    for coefficient, var in sorted(parts, key=lambda part: part[0]):
        extent = int_value(loops[depth[var]].extent)
        if coefficient != low or extent is None:
            break
        found.append(_Digit(position, low, extent, depth[var]))
        low *= extent
    if low != whole or len(found) != len(parts):
        outer = min((depth[var] for _, var in parts), default=0)
        found = [_Digit(position, 1, whole, outer)]
    yield from (digit for digit in reversed(found) if digit.extent > 1)


POSTPROCS.register(RewriteLayout.name, RewriteLayout)
