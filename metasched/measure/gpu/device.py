"""What a GPU does for us, whichever interface reaches it: memory, launches and their times.

`opencl` and `cuda` implement it; `engine` feeds and times candidates with it, `kernel` serves
users' calls. A device belongs to the process that opened it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from metasched.errors import MeasureError
from metasched.measure.gpu.plan import LaunchPlan
from metasched.measure.kernel import Array


class AbstractLoaded(ABC):
    """The kernels of one program on a device. Pointers are numbered as in a `LaunchPlan`."""

    @abstractmethod
    def launch(self, pointers: Sequence[Any]) -> None:
        """Launch all kernels in order and return, perhaps before they have ended.

        They wait for what was launched before, in CUDA on the default stream.

        Args:
            pointers: From `AbstractDevice.view`, for the parameters and then the buffers.

        Raises:
            MeasureError: a launch failed.
        """

    @abstractmethod
    def time(self, sets: Sequence[Sequence[Any]], repeats: int, *, flush: bool) -> float:
        """Return the seconds of so many calls in a row, which take turns over sets of pointers.

        Args:
            sets: Pointers, as for `launch`.
            repeats: Number of calls.
            flush: Write over the cache before each call; that time does not count.

        Raises:
            MeasureError: a launch failed.
        """


class AbstractDevice(ABC):
    """One device with a context in this process."""

    @property
    @abstractmethod
    def is_lost(self) -> bool:
        """Whether an error has left the context unusable, so that a new process is needed."""

    @abstractmethod
    def allocate(self, size: int) -> Any:
        """Return memory of so many bytes, freed with the last reference.

        Raises:
            MeasureError: there is not so much.
        """

    @abstractmethod
    def write(self, memory: Any, data: Array, offset: int = 0) -> None:
        """Copy a contiguous array to an offset in bytes, and wait for that."""

    @abstractmethod
    def read(self, memory: Any, data: Array, offset: int = 0) -> None:
        """Fill a contiguous array from an offset in bytes, after all launches so far.

        Raises:
            MeasureError: a launch has failed meanwhile.
        """

    @abstractmethod
    def copy(self, to: Any, source: Any, size: int) -> None:
        """Copy memory to memory, in order with launches."""

    def host_memory(self, size: int) -> Array:
        """Return bytes of the host that `read` fills fast."""
        return np.empty(size, np.uint8)

    @abstractmethod
    def view(self, memory: Any, offset: int, size: int) -> Any:
        """Return what a kernel takes as the pointer to a part of memory."""

    @abstractmethod
    def wait(self) -> None:
        """Wait for all launches.

        Raises:
            MeasureError: one has failed.
        """

    @abstractmethod
    def load(self, path: str | Path, plan: LaunchPlan) -> AbstractLoaded:
        """Load a compiled file.

        Raises:
            MeasureError: the device refuses it.
        """

    @property
    @abstractmethod
    def cache_bytes(self) -> int:
        """The cache that has to be written over for a cold call."""

    def conditions(self) -> Mapping[str, float]:
        """What the device says of its clock, temperature and power now; empty if nothing."""
        return {}


@lru_cache(maxsize=8)
def open_device(kind: str, arch: str) -> AbstractDevice:
    """Return the device of this process for a target's kind and architecture.

    Raises:
        DeviceError: there is none, or a package is missing.
        MeasureError: it cannot be opened.
    """
    if kind == "opencl":
        from metasched.measure.gpu.opencl import OpenClDevice

        return OpenClDevice.named(arch)
    if kind == "cuda":
        from metasched.measure.gpu.cuda import CudaDevice

        return CudaDevice(arch)
    raise MeasureError(f"kernels of kind '{kind}' run on no device that is known")
