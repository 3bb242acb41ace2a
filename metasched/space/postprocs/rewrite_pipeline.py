"""rewrite_pipeline: copies to shared memory run ahead of the products that need them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, final

from metasched.analysis.kernels import STAGES
from metasched.ir.procedure import runs_beside
from metasched.ir.stmt import Block, For, Seq, Stmt, annotation
from metasched.ir.threads import SHARED
from metasched.ir.walk import blocks
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.loop_choice import reducing_vars
from metasched.space.postprocs.postproc import POSTPROCS, AbstractPostproc, Rejected
from metasched.target import Target

_STAGE: Final = "software_pipeline_stage"
_ORDER: Final = "software_pipeline_order"
_ASYNC: Final = "software_pipeline_async_stages"


@final
@dataclass(frozen=True, slots=True)
class RewritePipeline(AbstractPostproc):
    """Give the statements of noted reductions stages: the copies the first, the rest the last."""

    name: ClassVar[str] = "rewrite_pipeline"

    def apply(self, schedule: Schedule, target: Target) -> Schedule | Rejected:
        """Annotate the loop that holds the copies of each noted block."""
        for name in list(schedule.state.tree.blocks):
            block = schedule.state.block(name)
            stages = annotation(block.annotations, STAGES)
            loop = _loop(schedule.state, block) if isinstance(stages, int) else None
            if loop is None or not isinstance(stages, int) or stages < 2:
                continue
            assert isinstance(loop.body, Seq), "looked for"
            count = len(loop.body.stmts)
            depth = schedule.state.loops_above(block).index(loop)
            handle = schedule.get_loops(schedule.get_block(name))[depth]
            schedule.annotate(handle, _STAGE, (*(0,) * (count - 1), stages - 1))
            order = tuple(range(count))
            if runs_beside(loop.body):
                # The products of an iteration start, and copies for later ones meanwhile.
                order = (*order[1:], 0)
            schedule.annotate(handle, _ORDER, order)
            schedule.annotate(handle, _ASYNC, (0,))
        return schedule


def _loop(state: State, block: Block) -> For | None:
    """The loop that holds copies to shared memory in front of the block, if it reduces."""
    path = (*state.ancestors(block), block)
    for loop in reversed(state.loops_above(block)):
        stmts = loop.body.stmts if isinstance(loop.body, Seq) else ()
        if stmts and any(_copies(stmt) for stmt in stmts[:-1]):
            last = any(stmts[-1] is node for node in path)
            plain = loop.kind == "serial" and loop.var in reducing_vars(block)
            return loop if last and plain else None
    return None


def _copies(stmt: Stmt) -> bool:
    """Whether a statement fills shared memory."""
    return any(r.buffer.scope in SHARED for block in blocks(stmt) for r in block.writes)


POSTPROCS.register(RewritePipeline.name, RewritePipeline)
