"""A compiled kernel loaded into this process, called with NumPy arrays.

Runners load candidates with it, and ``ms.compile`` the kernel it serves. `timing` is how the
calls are timed, `records` describes the C interface.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

from metasched.errors import MeasureError, UsageError
from metasched.ir.dtype import DType
from metasched.measure.records import ArgSpec, Artefact, MeasureConfig
from metasched.measure.timing import TimeCalls, flush_caches, take_samples, timer_library

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

ALIGNMENT = 64
"""Bytes that the workspace of a kernel is aligned to."""


class LoadedKernel:
    """A kernel that can be called from any number of threads at once.

    A library stays loaded until the process ends: OpenMP's threads may still stand in it.

    Args:
        artefact: The compiled kernel.

    Raises:
        MeasureError: the library cannot be loaded or lacks the entry point.
    """

    def __init__(self, artefact: Artefact) -> None:
        self.artefact = artefact
        try:
            self._function = ctypes.CDLL(artefact.path)[artefact.entry]
        except OSError as error:
            raise MeasureError(f"cannot load '{artefact.path}': {error}") from error
        except AttributeError as error:
            raise MeasureError(f"'{artefact.path}' has no entry '{artefact.entry}'") from error
        self._function.restype = None
        self._function.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
        self._address = ctypes.cast(self._function, ctypes.c_void_p).value
        self._dtypes = tuple(DType.of(arg.dtype).numpy() for arg in artefact.args)
        # Appending and popping are atomic, so calls in several threads never share a workspace.
        self._workspaces: deque[Array] = deque()

    def check(self, arrays: Sequence[Array]) -> None:
        """Refuse arrays that the kernel cannot be called with.

        Raises:
            UsageError: the number, a shape, a dtype or a layout differs, or an output cannot
                be written or overlaps another argument.
        """
        args = self.artefact.args
        if len(arrays) != len(args):
            names = ", ".join(arg.name for arg in args)
            raise UsageError(f"got {len(arrays)} arrays, expected {len(args)}: {names}")
        for arg, dtype, array in zip(args, self._dtypes, arrays, strict=True):
            _check_array(arg, dtype, array)
        _check_overlaps(args, arrays)

    def call(self, arrays: Sequence[Array], sizes: Sequence[int] = ()) -> None:
        """Run the kernel once on arrays in the order of its parameters.

        Args:
            arrays: Inputs and outputs; outputs are overwritten.
            sizes: The values of symbolic extents, which the kernel gets as int64 pointers.

        Raises:
            UsageError: see `check`.
        """
        self.check(arrays)
        pointers, kept = _pointers(arrays, sizes)
        with self._workspace() as workspace:
            self._function(ctypes.addressof(pointers), workspace)
        del kept

    def time(
        self, arrays: Sequence[Array], config: MeasureConfig | None = None
    ) -> tuple[float, ...]:
        """Return seconds of one call, one figure a sample, after a warm-up.

        Raises:
            UsageError: see `check`.
        """
        chosen = config or MeasureConfig()
        with self.timer(arrays, flush=chosen.flush) as time_calls:
            for _ in range(chosen.warmup):
                time_calls(1)
            return take_samples(time_calls, chosen)[0]

    @contextmanager
    def timer(self, arrays: Sequence[Array], *, flush: bool = False) -> Generator[TimeCalls]:
        """Provide a function that calls the kernel n times in a row and returns the seconds.

        Args:
            arrays: What the kernel is called with, see `call`.
            flush: Empty the caches before each series of calls.
        """
        self.check(arrays)
        pointers, _ = _pointers(arrays, ())
        measure = timer_library().metasched_time
        with self._workspace() as workspace:

            def time_calls(repeats: int) -> float:
                if flush:
                    flush_caches()
                block = ctypes.addressof(pointers)
                return float(measure(self._address, block, workspace, repeats))

            yield time_calls

    @contextmanager
    def _workspace(self) -> Generator[int]:
        """Lend the address of a workspace that no other call uses meanwhile."""
        size = self.artefact.workspace_bytes
        if size == 0:
            yield 0
            return
        try:
            memory = self._workspaces.pop()
        except IndexError:
            # Written by hand, so that the pages are there before the first call is timed; and
            # with NaN, so that a kernel which reads what it did not write is found out.
            memory = np.empty(size + ALIGNMENT, np.uint8)
            memory.fill(0xFF)
        try:
            yield memory.ctypes.data + -memory.ctypes.data % ALIGNMENT
        finally:
            self._workspaces.append(memory)


def _pointers(arrays: Sequence[Array], sizes: Sequence[int]) -> tuple[ctypes.Array[Any], object]:
    """Return the argument block of a call, and what must live as long as it is used."""
    extents = (ctypes.c_int64 * len(sizes))(*sizes)
    base = ctypes.addressof(extents)
    addresses = [array.ctypes.data for array in arrays]
    addresses += [base + 8 * index for index in range(len(sizes))]
    return (ctypes.c_void_p * len(addresses))(*addresses), extents


def _check_array(arg: ArgSpec, dtype: np.dtype[Any], array: Array) -> None:
    if not isinstance(array, np.ndarray):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"'{arg.name}' is a {type(array).__name__}, expected a NumPy array")
    if array.shape != arg.shape or array.dtype != dtype:
        given = f"'{arg.name}' is {array.dtype} {array.shape}"
        raise UsageError(f"{given}, expected {arg.dtype} {arg.shape}")
    if not array.flags.c_contiguous or not array.flags.aligned:
        raise UsageError(f"'{arg.name}' is not contiguous; pass numpy.ascontiguousarray(it)")
    if arg.is_output and not array.flags.writeable:
        raise UsageError(f"'{arg.name}' is an output but the array is read-only; pass a copy")


def _check_overlaps(args: Sequence[ArgSpec], arrays: Sequence[Array]) -> None:
    """Refuse outputs that share bytes with another argument: kernels assume that none does."""
    spans = [(array.ctypes.data, array.ctypes.data + array.nbytes) for array in arrays]
    for written, (begin, end) in enumerate(spans):
        if not args[written].is_output:
            continue
        for other, (start, stop) in enumerate(spans):
            if other != written and begin < stop and start < end:
                names = f"'{args[written].name}' and '{args[other].name}'"
                raise UsageError(f"{names} share memory; an output needs an array of its own")
