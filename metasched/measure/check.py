"""Says whether a kernel computed the right thing: outputs, guards and untouched inputs.

One error measure and one tolerance for each dtype, so that what is stored as evidence can be
compared later. `inputs` makes what is checked here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from metasched.ir.dtype import DType
from metasched.measure.inputs import GuardedArray, as_float, as_narrow
from metasched.measure.kernel import Array
from metasched.measure.records import ArgSpec
from metasched.target.detect import usable_cores

TOLERANCES: Mapping[str, float] = {
    "float64": 1e-9,
    "float32": 1e-4,
    "float16": 1e-2,
    "bfloat16": 4e-2,
}
"""Largest relative error by dtype; every other dtype must agree exactly."""

_BLOCK = 1 << 16
"""Elements compared at a time: the temporaries stay in the cache."""

_MANY_BLOCKS = 32


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison found; `problem` is empty exactly when the kernel is right."""

    max_error: float
    tolerance: float
    problem: str = ""

    @property
    def strain(self) -> float:
        """The error as a share of what is allowed; below 0 where all must agree exactly."""
        return self.max_error / self.tolerance if self.tolerance else -1.0


def compare_outputs(
    args: Sequence[ArgSpec],
    outputs: Sequence[Array],
    expected: Sequence[Array],
    tolerance: float | None = None,
) -> Verdict:
    """Compare the outputs of a kernel with what they should be.

    The error of an element is ``|got - want| / (|want| + mean |want|)``: relative, but not
    unbounded where sums cancel. NaN and infinities must agree as they are.

    Args:
        args: The outputs among the kernel's parameters.
        outputs: What it computed.
        expected: What the reference computed.
        tolerance: The largest error that passes for floats; ``None`` chooses by the dtype.
    """
    worst = Verdict(0.0, 0.0)
    for arg, got, want in zip(args, outputs, expected, strict=True):
        limit = TOLERANCES.get(arg.dtype, 0.0)
        limit = limit if tolerance is None or limit == 0.0 else tolerance
        error, place = _largest_error(arg.dtype, got.reshape(-1), want.reshape(-1))
        if not error <= limit:
            return Verdict(error, limit, _describe(arg, got, want, place, limit))
        worst = max(worst, Verdict(error, limit), key=lambda verdict: verdict.strain)
    return worst


def stray_writes(args: Sequence[ArgSpec], arrays: Sequence[GuardedArray]) -> str:
    """Return what a kernel wrote that it must not, or an empty text."""
    for arg, guarded in zip(args, arrays, strict=True):
        if not guarded.is_guard_intact():
            return f"the kernel wrote outside of '{arg.name}' {arg.dtype} {arg.shape}"
        if not arg.is_output and not guarded.is_unchanged():
            return f"the kernel wrote to its input '{arg.name}'"
    return ""


def _largest_error(dtype: str, got: Array, want: Array) -> tuple[float, int]:
    """Return the largest error and the index of its element; infinity where values must agree."""
    if not DType.of(dtype).is_float:
        bits = np.dtype(f"u{got.dtype.itemsize}")
        wrong = np.flatnonzero(got.view(bits) != want.view(bits))
        return (np.inf, int(wrong[0])) if wrong.size else (0.0, 0)
    scale = _mean_magnitude(dtype, want)

    def worst(begin: int) -> tuple[float, int]:
        parts = got[begin : begin + _BLOCK], want[begin : begin + _BLOCK]
        if (error := _quick_error(*parts, dtype, scale)) is not None:
            return error, begin
        errors = _errors(as_float(parts[0], dtype), as_float(parts[1], dtype), scale)
        index = int(errors.argmax())
        return float(errors[index]), begin + index

    found = _over_blocks(worst, got.size)
    error, place = max(found, key=lambda one: one[0], default=(0.0, 0))
    return error, place if error > 0 else 0


def _mean_magnitude(dtype: str, want: Array) -> float:
    def total(begin: int) -> tuple[float, int]:
        block = np.abs(as_narrow(want[begin : begin + _BLOCK], dtype))
        whole = float(block.sum(dtype=np.float64))
        if np.isfinite(whole):
            return whole, block.size
        finite = block[np.isfinite(block)]
        return float(finite.sum(dtype=np.float64)), finite.size

    found = _over_blocks(total, want.size)
    count = sum(size for _, size in found)
    return sum(part for part, _ in found) / count if count else 0.0


def _over_blocks(look: Callable[[int], tuple[float, int]], size: int) -> list[tuple[float, int]]:
    """What a function finds in each block, on several cores where there are many blocks."""
    begins = range(0, size, _BLOCK)
    if len(begins) < _MANY_BLOCKS:
        return list(map(look, begins))
    with ThreadPoolExecutor(usable_cores()) as threads:
        return list(threads.map(look, begins))


def _quick_error(got: Array, want: Array, dtype: str, scale: float) -> float | None:
    """The largest error, where it is so small that its place does not matter; else None.

    Computed in float32 where that holds the elements: differences of close numbers are exact.
    """
    got, want = as_narrow(got, dtype), as_narrow(want, dtype)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        errors = np.abs(got - want)
        bounds = np.abs(want)
        bounds += got.dtype.type(scale)
        errors /= bounds
        worst = float(errors.max(initial=0.0))
    return worst if worst <= TOLERANCES[dtype] / 4 else None


def _errors(got: Array, want: Array, scale: float) -> Array:
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        difference = np.abs(got - want)
        errors = difference / (np.abs(want) + scale)
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    return np.where(same, 0.0, np.where(np.isfinite(errors), errors, np.inf))


def _describe(arg: ArgSpec, got: Array, want: Array, place: int, limit: float) -> str:
    index = tuple(int(i) for i in np.unravel_index(place, got.shape))
    left, right = (_value(array, arg.dtype, place) for array in (got, want))
    where = f"'{arg.name}'{list(index)} is {left}, expected {right}"
    return f"{where} within a relative {limit:g}" if limit else where


def _value(array: Array, dtype: str, place: int) -> str:
    flat = array.reshape(-1)[place : place + 1]
    if DType.of(dtype).code == "bool":
        return f"{int(flat.view(np.uint8)[0])}"
    return f"{as_float(flat, dtype)[0]:.9g}" if DType.of(dtype).is_float else f"{flat[0]}"
