"""The operators: ordinary `metasched.te` code with keyword arguments, one module per family.

Nothing else in the project knows an operator by name.
"""

from __future__ import annotations

from metasched.ops.matmul import (
    attention_scores,
    batch_matmul,
    matmul,
    transpose_batch_matmul,
)
from metasched.ops.registry import get, names

__all__ = [
    "attention_scores",
    "batch_matmul",
    "get",
    "matmul",
    "names",
    "transpose_batch_matmul",
]
