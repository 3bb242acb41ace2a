"""parallelize_vectorize_unroll: notes on the root block that postprocessing carries out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, final

from metasched.ir.stmt import Block, annotation
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.patterns import is_root
from metasched.space.rules.rule import RULES, AbstractRule
from metasched.target import Target
from metasched.trace.instruction import Ref

PARALLEL: Final = "meta_schedule.parallel"
VECTORIZE: Final = "meta_schedule.vectorize"
UNROLL: Final = "meta_schedule.unroll_explicit"


@final
@dataclass(frozen=True, slots=True)
class ParallelizeVectorizeUnroll(AbstractRule):
    """Annotate the root with the most jobs, the longest vector loop and the unroll limit.

    Attributes:
        max_jobs_per_core: parallel iterations per core; below 1, nothing runs in parallel.
        max_vectorize_extent: longest loop to vectorise.
        unroll_max_steps: limits to sample from; none, and nothing is unrolled.
    """

    name: ClassVar[str] = "parallelize_vectorize_unroll"
    max_jobs_per_core: int = 16
    max_vectorize_extent: int = 64
    unroll_max_steps: tuple[int, ...] = (0, 16, 64, 512)

    def refusal(self, state: State, block: Block, target: Target) -> str | None:
        """Only the root block is annotated, and once."""
        if not is_root(state, block):
            return "not the root block"
        if any(annotation(block.annotations, key) is not None for key in (VECTORIZE, UNROLL)):
            return "annotated already"
        return None

    def apply(self, schedule: Schedule, block: Ref, target: Target) -> list[Schedule]:
        """Annotate, sampling the unroll limit."""
        if self.max_jobs_per_core >= 1:
            schedule.annotate(block, PARALLEL, self.max_jobs_per_core * target.cores)
        if self.max_vectorize_extent >= 1:
            schedule.annotate(block, VECTORIZE, self.max_vectorize_extent)
        if self.unroll_max_steps:
            steps = list(self.unroll_max_steps)
            limit = schedule.sample_categorical(steps, [1.0 / len(steps)] * len(steps))
            schedule.annotate(block, UNROLL, limit)
        return [schedule]


RULES.register(ParallelizeVectorizeUnroll.name, ParallelizeVectorizeUnroll)
