"""rewrite_reduction_block: accumulators are set before the reduction loops, not inside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from metasched.ir.expr import int_value
from metasched.ir.stmt import Block, For
from metasched.ir.walk import free_vars
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.patterns import is_reduction
from metasched.space.postprocs.postproc import POSTPROCS, AbstractPostproc, Rejected
from metasched.target import Target


@final
@dataclass(frozen=True, slots=True)
class RewriteReductionBlock(AbstractPostproc):
    """Decompose every reduction before its outermost loop that really repeats.

    Reduction loops of one iteration are passed over, so that a tile that is reduced in one go
    starts, runs and ends in registers. Reductions across threads stay whole: the threads combine
    what each of them has summed up.
    """

    name: ClassVar[str] = "rewrite_reduction_block"

    def apply(self, schedule: Schedule, target: Target) -> Schedule | Rejected:
        """Decompose every reduction that still holds its init."""
        names = [b.name for b in schedule.state.tree.blocks.values() if is_reduction(b)]
        for name in names:
            block = schedule.state.block(name)
            if _is_across_threads(schedule.state, block):
                continue
            position = _first_reduction(schedule.state, block)
            if position is not None:
                handle = schedule.get_block(name)
                schedule.decompose_reduction(handle, schedule.get_loops(handle)[position])
        return schedule


def _first_reduction(state: State, block: Block) -> int | None:
    """Number of the loop to decompose at, counted from the outermost; None without loops."""
    loops = state.loops_above(block)
    reducing = [k for k, loop in enumerate(loops) if _reduces(block, loop)]
    if not reducing:
        return len(loops) - 1 if loops else None
    return next((k for k in reducing if int_value(loops[k].extent) != 1), reducing[0])


def _is_across_threads(state: State, block: Block) -> bool:
    loops = state.loops_above(block)
    return any(loop.kind == "thread" and _reduces(block, loop) for loop in loops)


def _reduces(block: Block, loop: For) -> bool:
    return any(it.kind == "reduce" and loop.var in free_vars(it.binding) for it in block.iters)


POSTPROCS.register(RewriteReductionBlock.name, RewriteReductionBlock)
