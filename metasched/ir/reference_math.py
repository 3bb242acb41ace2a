"""Scalar arithmetic of the reference interpreter: IEEE results where Python would raise.

`NAMES` is what the generated source may call.
"""

from __future__ import annotations

import ctypes
import math
import struct
from typing import Any, Final

from metasched.ir.dtype import DType

_HALF: Final = struct.Struct("<e")
_SINGLE: Final = struct.Struct("<f")
_BITS: Final = struct.Struct("<I")


def poison(dtype: DType) -> float | int:
    """What unwritten memory holds: NaN, or a pattern of 0x5A bytes for integers.

    >>> hex(int(poison(DType("int", 16))))
    '0x5a5a'
    """
    if dtype.is_float:
        return math.nan
    return 0 if dtype.code == "bool" else int("5A" * (dtype.bits // 8), 16)


def f32(x: float) -> float:
    """Round to float32."""
    return ctypes.c_float(x).value


def f16(x: float) -> float:
    """Round to float16."""
    try:
        return _HALF.unpack(_HALF.pack(x))[0]
    except OverflowError:
        return math.copysign(math.inf, x)


def bf16(x: float) -> float:
    """Round to bfloat16, halves to even."""
    if x != x or math.isinf(x):
        return x
    bits: int = _BITS.unpack(_SINGLE.pack(f32(x)))[0] if math.isfinite(f32(x)) else 0x7F800000
    if bits == 0x7F800000:
        return math.copysign(math.inf, x)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16
    return _SINGLE.unpack(_BITS.pack(rounded))[0]


def signed(x: int, bits: int) -> int:
    """Wrap to a signed integer."""
    half = 1 << bits - 1
    return (x + half & (1 << bits) - 1) - half


def unsigned(x: int, bits: int) -> int:
    """Wrap to an unsigned integer."""
    return x & (1 << bits) - 1


def to_int(x: float) -> int:
    """Truncate; what no integer can hold becomes 0."""
    return int(x) if math.isfinite(x) else 0


def at(index: int, size: int, what: str) -> int:
    """Return an index after checking it."""
    if 0 <= index < size:
        return index
    raise IndexError(f"{what}: {index} is outside [0, {size})")


def fmax(a: float, b: float) -> float:
    """The larger; NaN if one is, so that unwritten memory shows."""
    return a if a > b or a != a else b


def fmin(a: float, b: float) -> float:
    """The smaller; NaN if one is."""
    return a if a < b or a != a else b


def div(a: float, b: float) -> float:
    """IEEE division."""
    if b:
        return a / b
    if a == 0 or a != a or b != b:
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def exp(x: float) -> float:
    """Exponential; infinite where that overflows."""
    return math.inf if x > 709.782712893384 else math.exp(x)


def log(x: float) -> float:
    """The natural logarithm; minus infinity at 0, NaN below."""
    if x > 0:
        return math.log(x)
    return -math.inf if x == 0 else math.nan


def sqrt(x: float) -> float:
    """The square root; NaN below 0."""
    return math.nan if x < 0 else math.sqrt(x)


def rsqrt(x: float) -> float:
    """One over the square root."""
    return div(1.0, sqrt(x))


def sigmoid(x: float) -> float:
    """``1 / (1 + exp(-x))``."""
    return 1.0 / (1.0 + exp(-x))


def floor(x: float) -> float:
    """The largest integer not above x, as a float."""
    return float(math.floor(x)) if math.isfinite(x) else x


def nearest(x: float) -> float:
    """The nearest integer, halves to even, as a float with the sign of x."""
    return math.copysign(float(round(x)), x) if math.isfinite(x) else x


def power(x: float, y: float) -> float:
    """IEEE pow for the arguments that programs use: NaN where the result is not real."""
    try:
        return math.pow(x, y)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.inf if x == 0 else math.nan


NAMES: Final[dict[str, Any]] = {
    "inf": math.inf,
    "nan": math.nan,
    "float32": f32,
    "float16": f16,
    "bfloat16": bf16,
    "signed": signed,
    "unsigned": unsigned,
    "to_int": to_int,
    "at": at,
    "fmax": fmax,
    "fmin": fmin,
    "div": div,
    "exp": exp,
    "log": log,
    "sqrt": sqrt,
    "rsqrt": rsqrt,
    "erf": math.erf,
    "tanh": math.tanh,
    "sigmoid": sigmoid,
    "floor": floor,
    "round_": nearest,
    "pow_": power,
}
