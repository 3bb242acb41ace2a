"""A good schedule for any program on a GPU without tuning: rules with fixed choices."""

from __future__ import annotations

from typing import Final

from metasched.space.gpu_tiles import gpu_tiles, tensor_tiles
from metasched.space.postprocs import (
    AbstractPostproc,
    DisallowDynamicLoop,
    RewriteCooperativeFetch,
    RewriteParallelVectorizeUnroll,
    RewritePipeline,
    RewriteReductionBlock,
    RewriteTensorCore,
    RewriteUnboundBlock,
    RewriteVectorStore,
    VerifyGpuCode,
)
from metasched.space.rules import (
    AbstractRule,
    AutoInline,
    CrossThreadReduction,
    InlineConstantScalars,
    MultiLevelTilingGpu,
    MultiLevelTilingTensorCore,
    ParallelizeVectorizeUnroll,
    ReindexToMatrices,
)

_FIRST: Final[tuple[AbstractRule, ...]] = (InlineConstantScalars(), AutoInline())
INLINE_REST: Final = AutoInline(
    disallow_if_then_else=False, require_injective=False, disallow_op=()
)
"""Inlines what tiling left, such as padding into the copies that read it."""

_NOTES: Final = ParallelizeVectorizeUnroll(0, 0, unroll_max_steps=(64,))
_TENSOR: Final = MultiLevelTilingTensorCore(fixed=tensor_tiles)
_TILING: Final = MultiLevelTilingGpu(fixed=gpu_tiles)

GPU_ATTEMPTS: Final[tuple[tuple[AbstractRule, ...], ...]] = (
    (
        *_FIRST,
        ReindexToMatrices(),
        _TENSOR,
        _TILING,
        INLINE_REST,
        CrossThreadReduction(variants=("fused", "across")),
        _NOTES,
    ),
    (*_FIRST, INLINE_REST, CrossThreadReduction(variants=("across",)), _NOTES),
    (*_FIRST, INLINE_REST),
    (),
)
"""Rules to try, the best first; the last holds for every program."""

GPU_FINISH: Final[tuple[AbstractPostproc, ...]] = (
    DisallowDynamicLoop(),
    RewriteCooperativeFetch(),
    RewriteTensorCore(),
    RewriteUnboundBlock(),
    RewriteParallelVectorizeUnroll(),
    RewriteReductionBlock(),
    RewriteVectorStore(),
    RewritePipeline(),
    VerifyGpuCode(),
)
"""Postprocessors of GPU schedules, in order."""
