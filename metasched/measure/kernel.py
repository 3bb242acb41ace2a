"""A compiled kernel loaded into this process, called with NumPy arrays.

Runners load candidates with it, and ``ms.compile`` the kernel it serves. `timing` is how the
calls are timed, `records` describes the C interface.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Generator, Sequence
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

_CONTIGUOUS = 0x001 | 0x100
_WRITEABLE = 0x400
"""NumPy's flag bits C_CONTIGUOUS with ALIGNED, and WRITEABLE."""


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
        self._workspaces: deque[_Workspace] = deque()

    def check(self, arrays: Sequence[Array]) -> list[int]:
        """Refuse arrays that the kernel cannot be called with, and return their addresses.

        Raises:
            UsageError: the number, a shape, a dtype or a layout differs, or an output cannot
                be written or overlaps another argument.
        """
        args = self.artefact.args
        if len(arrays) != len(args):
            names = ", ".join(arg.name for arg in args)
            raise UsageError(f"got {len(arrays)} arrays, expected {len(args)}: {names}")
        for arg, dtype, array in zip(args, self._dtypes, arrays, strict=True):
            check_array(arg, dtype, array)
        addresses = [array.ctypes.data for array in arrays]
        _check_overlaps(args, arrays, addresses)
        return addresses

    def new_output(self, arg: ArgSpec, inputs: Sequence[Array]) -> Array:
        """Return a new array for an output."""
        return empty_array(arg)

    def call(self, arrays: Sequence[Array], sizes: Sequence[int] = ()) -> None:
        """Run the kernel once on arrays in the order of its parameters.

        Args:
            arrays: Inputs and outputs; outputs are overwritten.
            sizes: The values of symbolic extents, which the kernel gets as int64 pointers.

        Raises:
            UsageError: see `check`.
        """
        block = _Block(self.check(arrays), sizes)
        workspace = self._borrow()
        try:
            self._function(block.address, workspace.address)
        finally:
            self._workspaces.append(workspace)

    def bound(self, arrays: Sequence[Array], sizes: Sequence[int] = ()) -> Callable[[], None]:
        """Return a function that makes the same call again and again, checked once.

        Args:
            arrays: See `call`; they stay alive with the function, which is for one thread.
            sizes: See `call`.

        Raises:
            UsageError: see `check`.
        """
        block, workspace = (
            _Block(self.check(arrays), sizes),
            _Workspace(self.artefact.workspace_bytes),
        )
        kept = (block, workspace, tuple(arrays))

        def call() -> None:
            self._function(kept[0].address, kept[1].address)

        return call

    def time(
        self,
        arrays: Sequence[Array],
        config: MeasureConfig | None = None,
        sizes: Sequence[int] = (),
    ) -> tuple[float, ...]:
        """Return seconds of one call, one figure a sample, after a warm-up.

        Raises:
            UsageError: see `check`.
        """
        chosen = config or MeasureConfig()
        with self.timer(arrays, sizes, flush=chosen.flush) as time_calls:
            for _ in range(chosen.warmup):
                time_calls(1)
            return take_samples(time_calls, chosen)[0]

    @contextmanager
    def timer(
        self, arrays: Sequence[Array], sizes: Sequence[int] = (), *, flush: bool = False
    ) -> Generator[TimeCalls]:
        """Provide a function that calls the kernel n times in a row and returns the seconds.

        Args:
            arrays: What the kernel is called with, see `call`.
            sizes: The values of symbolic extents.
            flush: Empty the caches before each series of calls.
        """
        block = _Block(self.check(arrays), sizes)
        measure = timer_library().metasched_time
        workspace = self._borrow()

        def time_calls(repeats: int) -> float:
            if flush:
                flush_caches()
            return float(measure(self._address, block.address, workspace.address, repeats))

        try:
            yield time_calls
        finally:
            self._workspaces.append(workspace)

    def _borrow(self) -> _Workspace:
        """Return a workspace that no other call uses, until it is put back."""
        try:
            return self._workspaces.pop()
        except IndexError:
            return _Workspace(self.artefact.workspace_bytes)


def empty_array(arg: ArgSpec) -> Array:
    """Return a new array on a cache-line boundary, as vector stores like it."""
    dtype = DType.of(arg.dtype).numpy()
    count = int(np.prod(arg.shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(count + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + count].view(dtype).reshape(arg.shape)


class _Workspace:
    """Aligned scratch memory for one call at a time."""

    __slots__ = ("_memory", "address")

    def __init__(self, size: int) -> None:
        # Written now, so that the pages are there before the first call is timed; and with
        # NaN, so that a kernel which reads what it did not write is found out.
        self._memory = np.full(size + ALIGNMENT if size else 0, 0xFF, np.uint8)
        start = self._memory.ctypes.data
        self.address = start + -start % ALIGNMENT if size else 0


class _Block:
    """The argument block of a call: pointers to the arrays, then to the symbolic sizes."""

    __slots__ = ("_extents", "_pointers", "address")

    def __init__(self, addresses: list[int], sizes: Sequence[int]) -> None:
        self._extents = (ctypes.c_int64 * len(sizes))(*sizes)
        if sizes:
            base = ctypes.addressof(self._extents)
            addresses = addresses + [base + 8 * index for index in range(len(sizes))]
        self._pointers = (ctypes.c_void_p * len(addresses))(*addresses)
        self.address = ctypes.addressof(self._pointers)


def check_array(arg: ArgSpec, dtype: np.dtype[Any], array: Array) -> None:
    """Refuse an array that a kernel cannot take for a parameter.

    Raises:
        UsageError: it is no array, or its shape, dtype or layout differs, or it is an output that
            cannot be written.
    """
    if not isinstance(array, np.ndarray):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"'{arg.name}' is a {type(array).__name__}, expected a NumPy array")
    if array.shape != arg.shape or array.dtype != dtype:
        given = f"'{arg.name}' is {array.dtype} {array.shape}"
        raise UsageError(f"{given}, expected {arg.dtype} {arg.shape}")
    # One look at the bits: attributes of the flags cost more than the rest of the checks.
    flags = array.flags.num
    if flags & _CONTIGUOUS != _CONTIGUOUS:
        raise UsageError(f"'{arg.name}' is not contiguous; pass numpy.ascontiguousarray(it)")
    if arg.is_output and not flags & _WRITEABLE:
        raise UsageError(f"'{arg.name}' is an output but the array is read-only; pass a copy")


def _check_overlaps(
    args: Sequence[ArgSpec], arrays: Sequence[Array], addresses: Sequence[int]
) -> None:
    """Refuse outputs that share bytes with another argument: kernels assume that none does."""
    ends = [address + array.nbytes for address, array in zip(addresses, arrays, strict=True)]
    for written, arg in enumerate(args):
        if not arg.is_output:
            continue
        begin, end = addresses[written], ends[written]
        for other, start in enumerate(addresses):
            if start < end and begin < ends[other] and other != written:
                names = f"'{arg.name}' and '{args[other].name}'"
                raise UsageError(f"{names} share memory; an output needs an array of its own")
