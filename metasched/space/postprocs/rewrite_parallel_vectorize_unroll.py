"""rewrite_parallel_vectorize_unroll: carries out the notes on the root block.

Which loops qualify is decided in `metasched.space.loop_choice`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from metasched.ir.stmt import Block, Stmt
from metasched.ir.walk import blocks
from metasched.schedule.schedule import Schedule
from metasched.space.loop_choice import iterations, nests, parallel_depth, vector_plan
from metasched.space.notes import take_number
from metasched.space.postprocs.postproc import POSTPROCS, AbstractPostproc, Rejected
from metasched.space.rules.parallelize_vectorize_unroll import PARALLEL, UNROLL, VECTORIZE
from metasched.target import Target


@final
@dataclass(frozen=True, slots=True)
class RewriteParallelVectorizeUnroll(AbstractPostproc):
    """Run outer loops in parallel, vectorise innermost ones and state the unroll limit.

    Attributes:
        least_work: nests with fewer block executions stay on one core, since starting the others
            takes longer.
    """

    name: ClassVar[str] = "rewrite_parallel_vectorize_unroll"
    least_work: int = 4096

    def apply(self, schedule: Schedule, target: Target) -> Schedule | Rejected:
        """Take the notes off the root block and carry them out nest by nest."""
        parallel, vector, unroll = (
            take_number(schedule, key) for key in (PARALLEL, VECTORIZE, UNROLL)
        )
        for number in range(len(nests(schedule.state))):
            if parallel > 1:
                self._parallelize(schedule, number, parallel, target)
            if vector > 1:
                _vectorize(schedule, number, vector, target)
            if unroll > 0:
                _note_unroll(schedule, number, unroll)
        return schedule

    def _parallelize(self, schedule: Schedule, number: int, most: int, target: Target) -> None:
        nest = nests(schedule.state)[number]
        depth = parallel_depth(nest, most=most, cores=target.cores)
        work = iterations(schedule.state, nest)
        if depth == 0 or target.cores == 1 or (work is not None and work < self.least_work):
            return
        loops = schedule.get_loops(schedule.get_block(_leaves(nest)[0].name))[:depth]
        schedule.parallel(loops[0] if depth == 1 else schedule.fuse(*loops))


def _leaves(nest: Stmt) -> list[Block]:
    return [block for block in blocks(nest) if not any(b is not block for b in blocks(block.body))]


def _vectorize(schedule: Schedule, number: int, most: int, target: Target) -> None:
    for name in [block.name for block in _leaves(nests(schedule.state)[number])]:
        block = schedule.state.block(name)
        plan = vector_plan(schedule.state, block, most=most, vector_bits=target.vector_bits)
        if plan is None:
            continue
        loops = schedule.get_loops(schedule.get_block(name))[-plan.fuse :]
        inner = loops[0] if plan.fuse == 1 else schedule.fuse(*loops)
        if plan.split is not None:
            inner = schedule.split(inner, (None, plan.split))[1]
        schedule.vectorize(inner)


def _note_unroll(schedule: Schedule, number: int, limit: int) -> None:
    nest = nests(schedule.state)[number]
    loops = schedule.get_loops(schedule.get_block(_leaves(nest)[0].name))
    if loops:
        schedule.annotate(loops[0], "pragma_auto_unroll_max_step", limit)
        schedule.annotate(loops[0], "pragma_unroll_explicit", 1)


POSTPROCS.register(RewriteParallelVectorizeUnroll.name, RewriteParallelVectorizeUnroll)
