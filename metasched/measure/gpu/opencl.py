"""OpenCL devices through pyopencl: real GPUs, and CPUs through PoCL, which checks semantics.

A compiler may only see the kernel at its first launch, so that call is the one that is checked.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, final

import numpy as np

from metasched.errors import MeasureError
from metasched.measure.gpu.device import AbstractDevice, AbstractLoaded
from metasched.measure.gpu.plan import Launch, LaunchPlan
from metasched.measure.kernel import Array
from metasched.target.opencl_device import choose_opencl, load_pyopencl

_MESSAGE_LINES = 6


@final
class OpenClDevice(AbstractDevice):
    """A device in a context of pyopencl's.

    Args:
        context: The context; its first device is used.
    """

    def __init__(self, context: Any) -> None:
        self._cl = load_pyopencl()
        self.context = context
        self._device = context.devices[0]
        with refusals(self._cl):
            profiled = self._cl.command_queue_properties.PROFILING_ENABLE
            self.queue = self._cl.CommandQueue(context, self._device, properties=profiled)
        self._flushed: Any = None

    @staticmethod
    def named(arch: str) -> OpenClDevice:
        """Return the device that a target's architecture names, in a context of its own."""
        cl = load_pyopencl()
        device = choose_opencl(arch)
        with refusals(cl):
            return OpenClDevice(cl.Context([device]))

    @property
    def is_lost(self) -> bool:
        """False: an error of OpenCL ends the call alone."""
        return False

    @property
    def cache_bytes(self) -> int:
        """The cache of the global memory."""
        return int(self._device.global_mem_cache_size) or 1 << 22

    def allocate(self, size: int) -> Any:
        """Return a buffer; see `AbstractDevice.allocate`."""
        with refusals(self._cl):
            return self._cl.Buffer(self.context, self._cl.mem_flags.READ_WRITE, max(size, 1))

    def write(self, memory: Any, data: Array, offset: int = 0) -> None:
        """Copy to the device; see `AbstractDevice.write`."""
        if data.nbytes:
            with refusals(self._cl):
                self._copy(memory, data, dst_offset=offset)

    def read(self, memory: Any, data: Array, offset: int = 0) -> None:
        """Copy from the device; see `AbstractDevice.read`."""
        if data.nbytes:
            with refusals(self._cl):
                self._copy(data, memory, src_offset=offset)

    def copy(self, to: Any, source: Any, size: int) -> None:
        """Enqueue a copy of a buffer."""
        with refusals(self._cl):
            self._cl.enqueue_copy(self.queue, to, source, byte_count=size)

    def view(self, memory: Any, offset: int, size: int) -> Any:
        """Return a buffer of a part of another one."""
        if offset == 0:
            return memory
        with refusals(self._cl):
            return memory.get_sub_region(offset, max(size, 1))

    def wait(self) -> None:
        """Wait for the queue."""
        with refusals(self._cl):
            self.queue.finish()

    def load(self, path: str | Path, plan: LaunchPlan) -> AbstractLoaded:
        """Build OpenCL's text; see `AbstractDevice.load`."""
        text = Path(path).read_text(encoding="utf-8")
        program = build_opencl(self.context, text)
        with refusals(self._cl):
            kernels = [getattr(program, launch.kernel) for launch in plan.launches]
        return _OpenClLoaded(self, self._cl, list(zip(plan.launches, kernels, strict=True)))

    def flush(self) -> None:
        """Write over the cache."""
        size = 2 * self.cache_bytes
        if self._flushed is None:
            self._flushed = self.allocate(size)
        self._cl.enqueue_fill_buffer(self.queue, self._flushed, np.uint8(0), 0, size)

    def _copy(self, to: Any, source: Any, **offset: int) -> None:
        self._cl.enqueue_copy(self.queue, to, source, is_blocking=True, **offset)


@final
class _OpenClLoaded(AbstractLoaded):
    """Kernels with their launches; a kernel object holds its arguments, hence the lock."""

    def __init__(self, device: OpenClDevice, cl: Any, kernels: list[tuple[Launch, Any]]) -> None:
        self._device, self._cl, self._kernels, self._lock = device, cl, kernels, Lock()

    def launch(self, pointers: Sequence[Any]) -> None:
        """Enqueue all kernels; see `AbstractLoaded.launch`."""
        with self._lock, refusals(self._cl):
            self._enqueue(pointers)

    def time(self, sets: Sequence[Sequence[Any]], repeats: int, *, flush: bool) -> float:
        """Return the device's own seconds; see `AbstractLoaded.time`."""
        total_ns = 0
        with self._lock, refusals(self._cl):
            events: list[Any] = []
            for number in range(repeats):
                if flush:
                    self._device.flush()
                events.append(self._enqueue(sets[number % len(sets)]))
            self._device.queue.finish()
            if flush:
                return 1e-9 * sum(last.profile.end - first.profile.start for first, last in events)
            total_ns = events[-1][1].profile.end - events[0][0].profile.start
        return 1e-9 * total_ns

    def _enqueue(self, pointers: Sequence[Any]) -> tuple[Any, Any]:
        """Enqueue all kernels and return the events of the first and of the last."""
        events = [self._enqueue_one(launch, kernel, pointers) for launch, kernel in self._kernels]
        return events[0], events[-1]

    def _enqueue_one(self, launch: Launch, kernel: Any, pointers: Sequence[Any]) -> Any:
        shared = [self._cl.LocalMemory(launch.shared_bytes)] if launch.shared_bytes else []
        kernel.set_args(*(pointers[number] for number in launch.arguments), *shared)
        items = tuple(g * b for g, b in zip(launch.grid, launch.block, strict=True))
        return self._cl.enqueue_nd_range_kernel(self._device.queue, kernel, items, launch.block)


def build_opencl(context: Any, text: str) -> Any:
    """Return pyopencl's program of a text, compiled as far as the driver does before a launch.

    Raises:
        MeasureError: the driver refuses it, with the first lines of what it says.
    """
    cl = load_pyopencl()
    with refusals(cl), warnings.catch_warnings():
        # A build log that is not empty is a warning there; it matters only where building fails.
        warnings.simplefilter("ignore")
        return cl.Program(context, text).build(cache_dir=False)


@contextmanager
def refusals(cl: Any) -> Generator[None]:
    """Turn an error of OpenCL into one of ours, cut to its first lines."""
    try:
        yield
    except (cl.Error, MemoryError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        found = [line for line in lines if "error" in line.lower()] or lines
        raise MeasureError(f"OpenCL: {' | '.join(found[:_MESSAGE_LINES])}") from error
