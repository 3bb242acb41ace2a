"""A good schedule for any program without tuning: the rules of the space with fixed choices."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar, Final, final

from metasched.errors import MetaschedError, ScheduleError
from metasched.ir.expr import int_value
from metasched.ir.stmt import Block, For, Program, annotation
from metasched.ir.walk import blocks
from metasched.schedule.primitives.loop_nest import is_unit
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.default_tiles import default_tiles
from metasched.space.generate import drafts
from metasched.space.loop_choice import reducing_vars
from metasched.space.patterns import consumers, writes_output
from metasched.space.postprocs import Rejected
from metasched.space.rules import (
    AbstractRule,
    AddRFactor,
    AutoInline,
    InlineConstantScalars,
    MultiLevelTiling,
    ParallelizeVectorizeUnroll,
    RandomComputeLocation,
)
from metasched.space.rules.multi_level_tiling import TILED, PackReads, WriteReuse
from metasched.space.space import CPU_POSTPROCS, postprocess
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
    """Accept a tiled output only if its sums start and end in registers.

    Raises:
        ScheduleError: partial sums would go to the output and back, or a stage reads the result;
            then a write-back is the better schedule.
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
        if sums > target.vector_registers * lanes or not writes_output(state, found):
            raise ScheduleError("in_registers: expected sums that stay in registers")
        return [schedule]


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


_INLINE: Final[tuple[AbstractRule, ...]] = (InlineConstantScalars(), AutoInline())
_NOTES: Final = ParallelizeVectorizeUnroll(unroll_max_steps=(16,))
_DIRECT: Final = MultiLevelTiling(
    reuse_write=WriteReuse("no"), pack_reads=PackReads("must"), fixed=default_tiles
)
_TILING: Final = MultiLevelTiling(
    reuse_write=WriteReuse("must", (2,)), pack_reads=PackReads("must"), fixed=default_tiles
)
_UNPACKED: Final = MultiLevelTiling(
    reuse_write=WriteReuse("no"), pack_reads=PackReads("no"), fixed=default_tiles
)
_LANES: Final = AddRFactor(variants=("lanes",), max_innermost_factor=16, fixed=True)
_ATTEMPTS: Final[tuple[tuple[AbstractRule, ...], ...]] = (
    (*_INLINE, _LANES, _DIRECT, InRegisters(), _NOTES, PlaceInReader()),
    (*_INLINE, _LANES, _TILING, _NOTES, PlaceInReader()),
    (*_INLINE, _UNPACKED, _NOTES, PlaceInReader()),
    (*_INLINE, _NOTES),
    (_NOTES,),
    (),
)


def default_schedule(program: Program, target: Target) -> Schedule:
    """Schedule a program without tuning: tiled, parallel and vectorised as far as it allows.

    Works for every program, symbolic sizes included: where a step is refused, simpler ones are
    tried, down to the program as it is.
    """
    for rules in _ATTEMPTS:
        try:
            draft = drafts(program, rules, target)[0]
            result = postprocess(draft, CPU_POSTPROCS, target)
        except MetaschedError:
            continue
        if not isinstance(result, Rejected):
            return result
    return Schedule(program)
