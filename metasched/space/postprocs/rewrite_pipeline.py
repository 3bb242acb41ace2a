"""rewrite_pipeline: copies to shared memory run ahead of the products that need them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, final

from metasched.analysis.kernels import STAGES
from metasched.ir.stmt import Block, For, Seq, annotation
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
            schedule.annotate(handle, _ORDER, tuple(range(count)))
            schedule.annotate(handle, _ASYNC, (0,))
        return schedule


def _loop(state: State, block: Block) -> For | None:
    """The innermost loop that holds the block behind other statements, if it reduces."""
    loops = [loop for loop in state.loops_above(block) if isinstance(loop.body, Seq)]
    if not loops or loops[-1].kind != "serial" or loops[-1].var not in reducing_vars(block):
        return None
    last = loops[-1].body
    inside = isinstance(last, Seq) and any(loop is last.stmts[-1] for loop in _path(state, block))
    return loops[-1] if inside else None


def _path(state: State, block: Block) -> tuple[object, ...]:
    return (*state.ancestors(block), block)


POSTPROCS.register(RewritePipeline.name, RewritePipeline)
