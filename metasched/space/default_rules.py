"""Rules that decide by looking at concrete tiles, for schedules that are not searched for."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar, final

from metasched.errors import MetaschedError
from metasched.ir.expr import int_value
from metasched.ir.stmt import Block, For, annotation
from metasched.ir.walk import blocks
from metasched.schedule.primitives.loop_nest import is_unit
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.loop_choice import reducing_vars
from metasched.space.patterns import consumers, writes_output
from metasched.space.rules import AbstractRule, RandomComputeLocation
from metasched.space.rules.multi_level_tiling import TILED
from metasched.target import Target
from metasched.trace.instruction import Ref

_LEAST_VISIT = 64
_MOST_REPEATED = 1.25


@final
@dataclass(frozen=True, slots=True)
class PlaceInReader(AbstractRule):
    """Compute a stage deep inside its readers, as long as hardly anything is computed twice."""

    name: ClassVar[str] = "place_in_reader"

    def refusal(self, state: State, block: Block, target: Target) -> str | None:
        """As for sampled locations."""
        return RandomComputeLocation().refusal(state, block, target)

    def apply(self, schedule: Schedule, block: Ref, target: Target) -> list[Schedule]:
        """Try the loops around the readers, outermost first, and keep the deepest good one."""
        name = str(schedule.value(block))
        before = _runs(schedule.state, name)
        best = schedule
        if before is None:
            return [schedule]
        reader = consumers(schedule.state, schedule.state.block(name))[0]
        reducing = reducing_vars(reader)
        for depth, outer in enumerate(schedule.state.loops_above(reader)):
            if outer.var in reducing:
                break
            moved = schedule.copy()
            loop = moved.get_loops(moved.get_block(reader.name))[depth]
            try:
                moved.compute_at(block, loop, preserve_unit_loops=True)
            except MetaschedError:
                continue
            after = _runs(moved.state, name)
            if after is None or prod(after) > _MOST_REPEATED * prod(before):
                break
            if _work_inside(moved.state, moved.state.loop(str(moved.value(loop)))) < _LEAST_VISIT:
                break
            # Loops above a place where stages meet are all that can run in parallel.
            if prod(after[: depth + 1]) >= target.cores:
                best = moved
        return [best]


@final
@dataclass(frozen=True, slots=True)
class InRegisters(AbstractRule):
    """Drop drafts with a tiled block whose sums do not start and end in registers.

    Partial sums would go to the output and back, or a stage reads the result; then a draft with a
    write-back is better.
    """

    name: ClassVar[str] = "in_registers"

    def refusal(self, state: State, block: Block, target: Target) -> str | None:
        """Only tiled blocks matter."""
        return None if annotation(block.annotations, TILED) is not None else "not tiled"

    def apply(self, schedule: Schedule, block: Ref, target: Target) -> list[Schedule]:
        """Count what is summed up at the same time."""
        state = schedule.state
        found = state.block(str(schedule.value(block)))
        reducing = reducing_vars(found)
        loops = state.loops_above(found)
        runs = [k for k, loop in enumerate(loops) if loop.var in reducing and not is_unit(loop)]
        inside = [loop for loop in loops[min(runs, default=0) :] if loop.var not in reducing]
        sums = prod(int_value(loop.extent) or 1 for loop in inside)
        lanes = target.vector_bits // found.writes[0].buffer.dtype.bits
        stay = sums <= target.vector_registers * lanes and writes_output(state, found)
        return [schedule] if stay else []


def _work_inside(state: State, loop: For) -> int:
    """How often blocks run in one iteration of a loop, all together; at least 1 a symbolic one."""
    depth = len(state.loops_above(loop)) + 1
    return sum(
        prod(int_value(inner.extent) or 1 for inner in state.loops_above(block)[depth:])
        for block in blocks(loop)
    )


def _runs(state: State, name: str) -> list[int] | None:
    """The extents of the loops around a block; None when one is symbolic."""
    extents = [int_value(loop.extent) for loop in state.loops_above(state.block(name))]
    return None if None in extents else [e for e in extents if e is not None]
