"""Random inputs and poisoned outputs for one kernel, with guards that show stray writes.

`check` compares what the kernel left in them; `runner` keeps them between candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metasched.ir.dtype import DType
from metasched.measure.kernel import ALIGNMENT, Array
from metasched.measure.records import ArgSpec

_GUARD_BYTES = 4 * ALIGNMENT
_GUARD_VALUE = 0xA5
_POISON_BYTE = 0x5B
_INT_RANGE = (-8, 8)
_DRAWN = 1 << 20
"""Elements that are drawn; a larger input repeats them, shifted, so that making it stays cheap."""


@dataclass(frozen=True, slots=True)
class GuardedArray:
    """An array with guard bytes around it.

    Attributes:
        array: The aligned array that a kernel gets.
        memory: Its bytes with the guards.
        fingerprint: A checksum of an input, to tell that it was not written.
    """

    array: Array
    memory: Array
    fingerprint: int

    def is_guard_intact(self) -> bool:
        """Whether the bytes around the array are as they were made."""
        begin = self.array.ctypes.data - self.memory.ctypes.data
        around = (self.memory[:begin], self.memory[begin + self.array.nbytes :])
        return all(bool((part == _GUARD_VALUE).all()) for part in around)

    def is_unchanged(self) -> bool:
        """Whether an input still holds what it was made with."""
        return checksum(self.array) == self.fingerprint


def make_arguments(args: Sequence[ArgSpec], seed: int) -> tuple[GuardedArray, ...]:
    """Return inputs drawn from the seed and poisoned outputs, in the order of the parameters.

    An input depends on the seed and its place only, so that a kernel and its reference get the
    same in every process. Floats are uniform in [-1, 1], integers in [-8, 8], or from 0 where
    they are unsigned.
    """
    return tuple(
        poisoned(arg) if arg.is_output else _random(arg, np.random.default_rng((seed, place)))
        for place, arg in enumerate(args)
    )


def poisoned(arg: ArgSpec) -> GuardedArray:
    """Return an output that holds NaN, or a byte pattern that no small integer has."""
    guarded = _guarded(arg)
    poison(guarded.array, arg.dtype)
    return guarded


def poison(array: Array, dtype: str) -> None:
    """Overwrite an output so that elements which a kernel leaves out are seen."""
    if DType.of(dtype).code == "float":
        array.fill(np.nan)
    elif DType.of(dtype).code == "bfloat":
        array.fill(0x7FC0)
    else:
        array.reshape(-1).view(np.uint8).fill(_POISON_BYTE)


def checksum(array: Array) -> int:
    """Return a quick checksum of the bytes of a contiguous array."""
    data = array.reshape(-1).view(np.uint8)
    whole = data.size // 8 * 8
    words = int(np.add.reduce(data[:whole].view(np.uint64))) if whole else 0
    return words + int(np.add.reduce(data[whole:], dtype=np.uint64))


def _guarded(arg: ArgSpec) -> GuardedArray:
    dtype = DType.of(arg.dtype).numpy()
    size = int(np.prod(arg.shape, dtype=np.int64)) * dtype.itemsize
    memory = np.empty(size + 2 * _GUARD_BYTES, np.uint8)
    begin = _GUARD_BYTES - (memory.ctypes.data + _GUARD_BYTES) % ALIGNMENT
    memory[:begin] = _GUARD_VALUE
    memory[begin + size :] = _GUARD_VALUE
    return GuardedArray(memory[begin : begin + size].view(dtype).reshape(arg.shape), memory, 0)


def _random(arg: ArgSpec, rng: np.random.Generator) -> GuardedArray:
    guarded = _guarded(arg)
    flat = guarded.array.reshape(-1)
    drawn = _draw(DType.of(arg.dtype), min(flat.size, _DRAWN), rng)
    for begin in range(0, flat.size, _DRAWN):
        part = flat[begin : begin + _DRAWN]
        part[:] = np.roll(drawn, begin // _DRAWN)[: part.size]
    return GuardedArray(guarded.array, guarded.memory, checksum(guarded.array))


def _draw(dtype: DType, count: int, rng: np.random.Generator) -> Array:
    if dtype.code == "bool":
        return rng.integers(0, 2, count).astype(np.bool_)
    if dtype.is_int:
        low, high = _INT_RANGE if dtype.code == "int" else (0, _INT_RANGE[1])
        return rng.integers(low, high, count, endpoint=True).astype(dtype.numpy())
    values = rng.random(count, np.float32) * np.float32(2) - np.float32(1)
    if dtype.code == "bfloat":
        return (values.view(np.uint32) >> 16).astype(np.uint16)
    if dtype.bits == 64:
        return rng.uniform(-1.0, 1.0, count)
    return values.astype(dtype.numpy())


def as_float(array: Array, dtype: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the values of a contiguous array as float64; bfloat16 is held as bit patterns."""
    if DType.of(dtype).code == "bfloat":
        return (array.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return array.astype(np.float64)


def as_narrow(array: Array, dtype: str) -> np.ndarray[Any, np.dtype[Any]]:
    """Return the values of a contiguous array as float32, or as float64 where they are that."""
    if DType.of(dtype).code == "bfloat":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array if array.dtype == np.float64 else array.astype(np.float32, copy=False)
