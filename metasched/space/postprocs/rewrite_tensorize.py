"""rewrite_tensorize: tiles that a rule prepared for an intrinsic are computed by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, final

from metasched.ir.stmt import Block, annotation
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import blocks_under
from metasched.space.postprocs.postproc import POSTPROCS, AbstractPostproc, Rejected
from metasched.target import Target

TENSORIZE: Final = "meta_schedule.auto_tensorize"
"""On the outermost loop of a tile: the name of the intrinsic for it."""


@final
@dataclass(frozen=True, slots=True)
class RewriteTensorize(AbstractPostproc):
    """Tensorize the loops that carry the name of an intrinsic.

    It comes after reductions are decomposed; loops that only set accumulators lose the note.
    """

    name: ClassVar[str] = "rewrite_tensorize"

    def apply(self, schedule: Schedule, target: Target) -> Schedule | Rejected:
        """Look at all loops, outermost first."""
        for name in list(schedule.state.tree.loops):
            loop = schedule.state.tree.loops.get(name)
            intrin = None if loop is None else annotation(loop.annotations, TENSORIZE)
            if loop is None or intrin is None:
                continue
            block = next(iter(blocks_under(loop)))
            depth = [above.var.name for above in schedule.state.loops_above(block)].index(name)
            handle = schedule.get_loops(schedule.get_block(block.name))[depth]
            schedule.unannotate(handle, TENSORIZE)
            if _updates(block):
                schedule.tensorize(handle, str(intrin))
        return schedule


def _updates(block: Block) -> bool:
    written = {region.buffer for region in block.writes}
    return any(region.buffer in written for region in block.reads)


POSTPROCS.register(RewriteTensorize.name, RewriteTensorize)
