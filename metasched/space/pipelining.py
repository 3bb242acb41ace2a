"""How far copies to shared memory run ahead: a choice of tiling rules for GPUs."""

from __future__ import annotations

from collections.abc import Sequence

from metasched.analysis.kernels import STAGES
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref


def note_stages(schedule: Schedule, block: Ref, stages: Sequence[int], fixed: int | None) -> None:
    """Note for `RewritePipeline` for how many iterations operands lie in shared memory.

    Args:
        schedule: is changed.
        block: the product.
        stages: numbers to sample from.
        fixed: the number to take in place of a sampled one.
    """
    if fixed is not None:
        schedule.annotate(block, STAGES, fixed)
        return
    number = schedule.sample_categorical(list(stages), [1.0 / len(stages)] * len(stages))
    schedule.annotate(block, STAGES, number)
