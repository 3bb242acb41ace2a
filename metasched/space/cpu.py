"""The default space of CPUs: rules, postprocessors and mutators, with MetaSchedule's weights."""

from __future__ import annotations

from typing import Final

from metasched.space.postprocs import (
    DisallowDynamicLoop,
    RewriteLayout,
    RewriteParallelVectorizeUnroll,
    RewriteReductionBlock,
    RewriteTensorize,
)
from metasched.space.rules import (
    AddRFactor,
    ApplyCustomRule,
    AutoInline,
    InlineConstantScalars,
    MultiLevelTiling,
    MultiLevelTilingWithIntrin,
    ParallelizeVectorizeUnroll,
    RandomComputeLocation,
)
from metasched.space.space import SPACES, Mutators, Postprocs, Rules, Space
from metasched.target.intrinsics import DOT_BFLOAT16, DOT_INT8

CPU_INTRINS: Final = (*DOT_INT8["u8s8"], *DOT_INT8["s8s8"], *DOT_BFLOAT16)
"""What compilers do not find by themselves; they make tiles of float32 as well."""

CPU_RULES: Final[Rules] = (
    ApplyCustomRule(),
    InlineConstantScalars(),
    AutoInline(),
    AddRFactor(),
    MultiLevelTilingWithIntrin(CPU_INTRINS),
    MultiLevelTiling(),
    ParallelizeVectorizeUnroll(),
    RandomComputeLocation(),
)
CPU_POSTPROCS: Final[Postprocs] = (
    DisallowDynamicLoop(),
    RewriteLayout(),
    RewriteReductionBlock(),
    RewriteTensorize(),
    RewriteParallelVectorizeUnroll(),
)
CPU_MUTATORS: Final[Mutators] = (
    ("tile_size", 0.9),
    ("compute_location", 0.05),
    ("unroll", 0.03),
    ("parallel", 0.02),
)


def cpu_space() -> Space:
    """The default space of CPUs."""
    return Space(CPU_RULES, CPU_POSTPROCS, CPU_MUTATORS)


SPACES.register("cpu", cpu_space)
