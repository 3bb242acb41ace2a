"""A good schedule for any program on a GPU without tuning: rules with fixed choices."""

from __future__ import annotations

from typing import Final

from metasched.space.postprocs import (
    AbstractPostproc,
    DisallowDynamicLoop,
    RewriteReductionBlock,
    RewriteUnboundBlock,
)
from metasched.space.rules import AbstractRule, AutoInline, InlineConstantScalars

_INLINE: Final[tuple[AbstractRule, ...]] = (
    InlineConstantScalars(),
    AutoInline(disallow_if_then_else=False, require_injective=False, disallow_op=()),
)

GPU_ATTEMPTS: Final[tuple[tuple[AbstractRule, ...], ...]] = (_INLINE, ())
"""Rules to try, the best first; the last holds for every program."""

GPU_FINISH: Final[tuple[AbstractPostproc, ...]] = (
    DisallowDynamicLoop(),
    RewriteUnboundBlock(),
    RewriteReductionBlock(),
)
