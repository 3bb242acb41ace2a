"""rewrite_vector_store: a thread stores neighbouring results at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from metasched.ir.stmt import Block
from metasched.schedule.schedule import Schedule
from metasched.space.loop_choice import vector_plan
from metasched.space.patterns import is_spatial
from metasched.space.postprocs.postproc import POSTPROCS, AbstractPostproc, Rejected
from metasched.target import Target

_VECTOR_BITS = 128


@final
@dataclass(frozen=True, slots=True)
class RewriteVectorStore(AbstractPostproc):
    """Vectorize the loops of threads that move sums from registers to global memory."""

    name: ClassVar[str] = "rewrite_vector_store"

    def apply(self, schedule: Schedule, target: Target) -> Schedule | Rejected:
        """Look at each block that reads a thread's own buffer."""
        for name in list(schedule.state.tree.blocks):
            block = schedule.state.block(name)
            if not _writes_back(block):
                continue
            lanes = _VECTOR_BITS // block.writes[0].buffer.dtype.bits
            plan = vector_plan(schedule.state, block, most=lanes, vector_bits=_VECTOR_BITS)
            if plan is None:
                continue
            loops = schedule.get_loops(schedule.get_block(name))[-plan.fuse :]
            inner = loops[0] if plan.fuse == 1 else schedule.fuse(*loops)
            if plan.split is not None:
                inner = schedule.split(inner, (None, plan.split))[1]
            schedule.vectorize(inner)
        return schedule


def _writes_back(block: Block) -> bool:
    read = {region.buffer.scope for region in block.reads}
    return is_spatial(block) and "local" in read and block.writes[0].buffer.scope == "global"


POSTPROCS.register(RewriteVectorStore.name, RewriteVectorStore)
