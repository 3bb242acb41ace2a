"""Element types of buffers and expressions, with vector lanes for lowered programs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from metasched.errors import UsageError, suggest
from metasched.ir.node import Node

Code = Literal["float", "bfloat", "int", "uint", "bool"]

NAMES: dict[str, tuple[Code, int]] = {
    "float64": ("float", 64),
    "float32": ("float", 32),
    "float16": ("float", 16),
    "bfloat16": ("bfloat", 16),
    "int8": ("int", 8),
    "int16": ("int", 16),
    "int32": ("int", 32),
    "int64": ("int", 64),
    "uint8": ("uint", 8),
    "uint16": ("uint", 16),
    "uint32": ("uint", 32),
    "uint64": ("uint", 64),
    "bool": ("bool", 8),
}
"""Scalar dtypes by name."""


@dataclass(frozen=True, slots=True, eq=False)
class DType(Node):
    """A scalar or vector element type.

    Args:
        code: the family of the scalar.
        bits: bits of one lane.
        lanes: lanes of a vector, 1 for a scalar. Only lowered programs hold vectors.

    Attributes:
        is_float: whether the scalar is a floating-point number.
        is_int: whether the scalar is a signed or unsigned integer.
    """

    code: Code
    bits: int
    lanes: int = 1
    is_float: bool = field(init=False, repr=False)
    is_int: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Kept, since every builder of expressions asks.
        object.__setattr__(self, "is_float", self.code in ("float", "bfloat"))
        object.__setattr__(self, "is_int", self.code in ("int", "uint"))

    @staticmethod
    def of(name: str | DType) -> DType:
        """Return the dtype of a name such as ``"float32"`` or ``"float32x16"``.

        Raises:
            UsageError: the name is no dtype.
        """
        return name if isinstance(name, DType) else _parse(name)

    @property
    def bytes(self) -> int:
        """Bytes of one element, all lanes together."""
        return self.bits // 8 * self.lanes

    @property
    def scalar(self) -> DType:
        """The same type with one lane."""
        return self if self.lanes == 1 else DType(self.code, self.bits)

    def with_lanes(self, lanes: int) -> DType:
        """The same scalar type with the given lanes."""
        return DType(self.code, self.bits, lanes)

    def numpy(self) -> np.dtype[np.generic]:
        """The NumPy type of one lane (bfloat16 is held as uint16 bit patterns)."""
        name: npt.DTypeLike = "uint16" if self.code == "bfloat" else str(self.scalar)
        return np.dtype(name)

    def __str__(self) -> str:
        name = "bool" if self.code == "bool" else f"{self.code}{self.bits}"
        return name if self.lanes == 1 else f"{name}x{self.lanes}"


@cache
def _parse(name: str) -> DType:
    match = re.fullmatch(r"([a-z]+\d*)(?:x(\d+))?", str(name))
    if match is None or match[1] not in NAMES:
        raise UsageError(f"unknown dtype '{name}'{suggest(str(name), NAMES)}")
    code, bits = NAMES[match[1]]
    return DType(code, bits, int(match[2] or 1))


FLOAT32 = DType("float", 32)
FLOAT64 = DType("float", 64)
INT32 = DType("int", 32)
INT64 = DType("int", 64)
BOOL = DType("bool", 8)
