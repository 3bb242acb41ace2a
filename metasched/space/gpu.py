"""The default space of GPUs: rules, postprocessors and mutators, with MetaSchedule's weights."""

from __future__ import annotations

from typing import Final

from metasched.space.gpu_schedule import GPU_FINISH, INLINE_REST
from metasched.space.rules import (
    ApplyCustomRule,
    AutoBind,
    AutoInline,
    CrossThreadReduction,
    InlineConstantScalars,
    MultiLevelTilingGpu,
    MultiLevelTilingTensorCore,
    ParallelizeVectorizeUnroll,
    ReindexToMatrices,
)
from metasched.space.space import SPACES, Mutators, Postprocs, Rules, Space

GPU_RULES: Final[Rules] = (
    ApplyCustomRule(),
    InlineConstantScalars(),
    AutoInline(),
    ReindexToMatrices(),
    MultiLevelTilingTensorCore(),
    MultiLevelTilingGpu(),
    INLINE_REST,
    CrossThreadReduction(),
    ParallelizeVectorizeUnroll(0, 0, unroll_max_steps=(0, 16, 64, 512)),
    AutoBind(),
)
GPU_POSTPROCS: Final[Postprocs] = GPU_FINISH
GPU_MUTATORS: Final[Mutators] = (
    ("tile_size", 0.9),
    ("unroll", 0.08),
    ("thread_binding", 0.02),
)


def gpu_space() -> Space:
    """The default space of GPUs, of each language."""
    return Space(GPU_RULES, GPU_POSTPROCS, GPU_MUTATORS)


SPACES.register("cuda", gpu_space)
SPACES.register("opencl", gpu_space)
