"""CUDA devices through pycuda, which is loaded when the first device is asked for.

The primary context is used, the one that other libraries of the process share. It is current only
inside a call, so that any thread may call. An error while a kernel runs is sticky: the context
answers nothing but that error from then on, and `is_lost` says so.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from metasched.errors import DeviceError, MeasureError
from metasched.measure.gpu.cuda_graph import Graph
from metasched.measure.gpu.device import AbstractDevice, AbstractLoaded
from metasched.measure.gpu.nvml import read_conditions
from metasched.measure.gpu.plan import Launch, LaunchPlan
from metasched.measure.kernel import Array
from metasched.target.cuda_device import CUDA_EXTRA, missing_device
from metasched.target.missing import suitable_device

_GRAPH_CALLS: Final = 32
"""Calls in one graph. Below, the gaps between launches are part of the time that is reported."""


@final
class CudaDevice(AbstractDevice):
    """The first device of this machine that runs code for an architecture.

    Args:
        arch: The architecture, such as ``"sm_90"``.
    """

    def __init__(self, arch: str) -> None:
        number = suitable_device(arch)
        self._cuda = load_pycuda()
        self._is_lost = False
        with self._refusals("cannot open the device"):
            self._cuda.init()
            device = self._cuda.Device(number)
            self._context = device.retain_primary_context()
            self._bus_id: str = device.pci_bus_id()
            attribute = self._cuda.device_attribute
            self._cache_bytes = int(device.get_attribute(attribute.L2_CACHE_SIZE))
        with self.current("cannot make a stream"):
            self.stream = self._cuda.Stream()
        self._flushed: Any = None

    @property
    def is_lost(self) -> bool:
        """Whether a kernel has failed while it ran."""
        return self._is_lost

    @property
    def cache_bytes(self) -> int:
        """The second-level cache."""
        return self._cache_bytes or 1 << 26

    def allocate(self, size: int) -> Any:
        """Return device memory; see `AbstractDevice.allocate`."""
        with self.current(f"cannot allocate {size} bytes"):
            return self._cuda.mem_alloc(max(size, 1))

    def write(self, memory: Any, data: Array, offset: int = 0) -> None:
        """Copy to the device; see `AbstractDevice.write`."""
        if data.nbytes:
            with self.current("cannot write to the device"):
                self._cuda.memcpy_htod(int(memory) + offset, data)

    def read(self, memory: Any, data: Array, offset: int = 0) -> None:
        """Copy from the device; see `AbstractDevice.read`."""
        self.wait()
        if data.nbytes:
            with self.current("cannot read from the device"):
                self._cuda.memcpy_dtoh(data, int(memory) + offset)

    def copy(self, to: Any, source: Any, size: int) -> None:
        """Copy on the device."""
        with self.current("cannot copy on the device"):
            self._cuda.memcpy_dtod(int(to), int(source), size)

    def host_memory(self, size: int) -> Array:
        """Return memory that stays where it is, which the device reaches directly."""
        with self.current(f"cannot hold {size} bytes of the host"):
            held: Array = self._cuda.pagelocked_empty(size, np.uint8)
            return held

    def view(self, memory: Any, offset: int, size: int) -> Any:
        """Return an address."""
        return int(memory) + offset

    def wait(self) -> None:
        """Wait for all streams."""
        with self.current("the kernel failed"):
            self._cuda.Context.synchronize()

    def load(self, path: str | Path, plan: LaunchPlan) -> AbstractLoaded:
        """Load a cubin; see `AbstractDevice.load`."""
        with self.current("cannot load the kernel"):
            module = self._cuda.module_from_buffer(Path(path).read_bytes())
            kernels = [self._function(module, launch) for launch in plan.launches]
        return _CudaLoaded(self, self._cuda, module, list(zip(plan.launches, kernels, strict=True)))

    def conditions(self) -> Mapping[str, float]:
        """Clocks, temperature and power, where NVML is there."""
        return read_conditions(self._bus_id)

    def flush(self) -> None:
        """Write over the cache, in order with the launches."""
        size = 2 * self.cache_bytes
        if self._flushed is None:
            self._flushed = self._cuda.mem_alloc(size)
        self._cuda.memset_d8_async(self._flushed, 0, size, self.stream)

    @contextmanager
    def current(self, failure: str) -> Generator[None]:
        """Make the context current, and turn an error of the driver into one of ours."""
        with self._refusals(failure):
            self._context.push()
            try:
                yield
            finally:
                self._context.pop()

    def _function(self, module: Any, launch: Launch) -> Any:
        """A kernel, allowed the dynamic shared memory that its launch asks for."""
        function = module.get_function(launch.kernel)
        if launch.shared_bytes:
            most = self._cuda.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES
            function.set_attribute(most, launch.shared_bytes)
        return function.prepare("P" * len(launch.arguments))

    @contextmanager
    def _refusals(self, failure: str) -> Generator[None]:
        try:
            yield
        except self._cuda.MemoryError as error:
            raise MeasureError(f"{failure}: out of memory on the device") from error
        except self._cuda.Error as error:
            self._is_lost = True
            raise MeasureError(f"{failure}: {error}") from error


@final
class _CudaLoaded(AbstractLoaded):
    """Kernels with their launches; the module lives as long as this."""

    def __init__(
        self, device: CudaDevice, cuda: Any, module: Any, kernels: list[tuple[Launch, Any]]
    ) -> None:
        self._device, self._cuda, self._module, self._kernels = device, cuda, module, kernels

    def launch(self, pointers: Sequence[Any]) -> None:
        """Launch all kernels on the default stream; see `AbstractLoaded.launch`."""
        with self._device.current("the kernel cannot be launched"):
            self._launch(pointers, None)

    def time(self, sets: Sequence[Sequence[Any]], repeats: int, *, flush: bool) -> float:
        """Return the seconds between two events on the stream; see `AbstractLoaded.time`."""
        with self._device.current("the kernel failed"):
            if flush:
                each = [self._flushed_call(sets[n % len(sets)]) for n in range(repeats)]
                self._device.stream.synchronize()
                return sum(1e-3 * stop.time_since(start) for start, stop in each)
            if repeats >= _GRAPH_CALLS:
                return self._graph_time(sets, repeats)
            return self._between(lambda: self._calls(sets, repeats))

    def _graph_time(self, sets: Sequence[Sequence[Any]], repeats: int) -> float:
        """Seconds of calls that are recorded first, so that nothing is spent between them."""
        calls = _GRAPH_CALLS * max(1, len(sets) // _GRAPH_CALLS)
        stream = self._device.stream
        with Graph(stream.handle, lambda: self._calls(sets, calls)) as graph:
            graph.launch()
            rounds = -(-repeats // calls)
            seconds = self._between(lambda: [graph.launch() for _ in range(rounds)])
        return seconds * repeats / (rounds * calls)

    def _between(self, work: Any) -> float:
        start, stop = self._cuda.Event(), self._cuda.Event()
        start.record(self._device.stream)
        work()
        stop.record(self._device.stream)
        stop.synchronize()
        return 1e-3 * stop.time_since(start)

    def _flushed_call(self, pointers: Sequence[Any]) -> tuple[Any, Any]:
        """Enqueue a cold call; the flush takes longer than enqueueing, so no gap is timed."""
        start, stop = self._cuda.Event(), self._cuda.Event()
        self._device.flush()
        start.record(self._device.stream)
        self._launch(pointers, self._device.stream)
        stop.record(self._device.stream)
        return start, stop

    def _calls(self, sets: Sequence[Sequence[Any]], repeats: int) -> None:
        for number in range(repeats):
            self._launch(sets[number % len(sets)], self._device.stream)

    def _launch(self, pointers: Sequence[Any], stream: Any) -> None:
        for launch, function in self._kernels:
            chosen = (pointers[number] for number in launch.arguments)
            function.prepared_async_call(
                launch.grid, launch.block, stream, *chosen, shared_size=launch.shared_bytes
            )


def load_pycuda() -> Any:
    """Return the module ``pycuda.driver``.

    Raises:
        DeviceError: it is not installed, or finds no driver.
    """
    try:
        return import_module("pycuda.driver")
    except ImportError as error:
        reason = missing_device() or f"pycuda cannot be loaded ({error}); {CUDA_EXTRA}"
        raise DeviceError(f"CUDA kernels cannot run here: {reason}") from error
