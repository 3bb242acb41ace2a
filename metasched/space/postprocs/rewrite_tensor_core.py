"""rewrite_tensor_core: tiles that were prepared for tensor cores are computed there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from metasched.ir.expr import int_value
from metasched.ir.stmt import annotation
from metasched.schedule.schedule import Schedule
from metasched.space.loop_choice import reducing_vars
from metasched.space.postprocs.postproc import POSTPROCS, AbstractPostproc, Rejected
from metasched.space.rules.multi_level_tiling_tensor_core import GROUP, MOVE
from metasched.target import Target
from metasched.target.intrinsics import GROUPS, TENSOR_INTRINS
from metasched.trace.instruction import Ref


@final
@dataclass(frozen=True, slots=True)
class RewriteTensorCore(AbstractPostproc):
    """Put the intrinsics of a group in the places of the loops that the rule noted."""

    name: ClassVar[str] = "rewrite_tensor_core"

    def apply(self, schedule: Schedule, target: Target) -> Schedule | Rejected:
        """Copies first, then the product and what clears its sums."""
        for name in [block.name for block in schedule.state.tree.blocks.values()]:
            block = schedule.state.tree.blocks.get(name)
            if block is None:
                continue
            move = annotation(block.annotations, MOVE)
            group = annotation(block.annotations, GROUP)
            if isinstance(move, str):
                _move(schedule, schedule.get_block(name), move)
            if isinstance(group, str):
                _multiply(schedule, schedule.get_block(name), group)
        return schedule


def _move(schedule: Schedule, block: Ref, intrin: str) -> None:
    schedule.unannotate(block, MOVE)
    sizes = [int_value(n) for n in TENSOR_INTRINS[intrin].description.params[1].shape]
    rows, columns = schedule.get_loops(block)[-2:]
    row, within = schedule.split(rows, (None, sizes[0]))
    column, inside = schedule.split(columns, (None, sizes[1]))
    schedule.reorder(row, column, within, inside)
    schedule.tensorize(within, intrin)


def _multiply(schedule: Schedule, block: Ref, name: str) -> None:
    group = GROUPS[name]
    schedule.unannotate(block, GROUP)
    loops = schedule.get_loops(block)
    found = schedule.state.block(str(schedule.value(block)))
    reducing = reducing_vars(found)
    first = next(
        loop for loop in loops if schedule.state.loop(str(schedule.value(loop))).var in reducing
    )
    start = schedule.decompose_reduction(block, first)
    schedule.tensorize(schedule.get_loops(start)[-2], group.zero)
    schedule.tensorize(loops[-3], group.product)


POSTPROCS.register(RewriteTensorCore.name, RewriteTensorCore)
