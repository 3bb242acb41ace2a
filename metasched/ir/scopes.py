"""Memory scopes: where a buffer may live.

A program carries any of them; what a target cannot provide, its lowering refuses.
"""

from __future__ import annotations

from typing import Final

SCOPES: Final[dict[str, str]] = {
    "global": "the memory of the device, known to all its threads",
    "local": "private to a thread",
    "shared": "shared by the threads of a block",
    "shared.dyn": "the same, of a size that is given at launch",
    "warp": "spread over the registers of a warp",
    "wmma.matrix_a": "a fragment of a tensor core: left operand",
    "wmma.matrix_b": "a fragment of a tensor core: right operand",
    "wmma.accumulator": "a fragment of a tensor core: result",
    "register": "a named scalar or vector variable; lowered programs only",
}
"""What each scope means, by name."""

STORAGE: Final = tuple(name for name in SCOPES if name != "register")
"""The scopes that a schedule may name."""

CPU_MEMORY: Final = frozenset({"global", "local", "shared", "shared.dyn"})
"""The scopes that are plain memory on a CPU, where a thread is a block of its own.

The others exist only in the lanes of a warp together, which a CPU does not have.
"""
