"""A compiled GPU kernel in this process, called with arrays of the host or of the device.

``ms.compile`` serves users with it. The device is opened at the first call, so that a kernel can be
compiled, looked at and exported where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np

from metasched.errors import UsageError
from metasched.ir.dtype import DType
from metasched.measure.gpu.arrays import DeviceArray, DeviceView, check_view, device_view
from metasched.measure.gpu.device import AbstractDevice, AbstractLoaded, open_device
from metasched.measure.gpu.plan import LaunchPlan
from metasched.measure.kernel import Array, check_array, empty_array
from metasched.measure.records import ArgSpec, Artefact, MeasureConfig
from metasched.measure.timing import take_samples


@dataclass(frozen=True, slots=True)
class _Opened:
    """The kernel on one device, with memory for its intermediates."""

    device: AbstractDevice
    loaded: AbstractLoaded
    buffers: tuple[Any, ...]


class CalledGpuKernel:
    """A GPU kernel with the interface of a `LoadedKernel`; calls from threads take turns.

    Args:
        artefact: The compiled kernel.

    Raises:
        MeasureError: the plan beside it cannot be read.
    """

    def __init__(self, artefact: Artefact) -> None:
        self.artefact = artefact
        self.plan = LaunchPlan.read(artefact.path)
        self._lock = Lock()
        self._contexts: dict[int, _Opened] = {}

    @cached_property
    def _own(self) -> _Opened:
        return self._open(open_device(self.plan.kind, self.plan.arch))

    def new_output(self, arg: ArgSpec, inputs: Sequence[Any]) -> Any:
        """Return a new array for an output: on the device where an input lies there."""
        args = (one for one in self.artefact.args if not one.is_output)
        for array, one in zip(inputs, args, strict=True):
            if (view := device_view(array, one)) is not None:
                return self._on_device(arg, view)
        return empty_array(arg)

    def call(self, arrays: Sequence[Any], sizes: Sequence[int] = ()) -> None:
        """Run the kernel once.

        With arrays of the device alone it returns before the kernel has ended; whoever uses them
        on CUDA's default stream waits for it there.

        Args:
            arrays: Inputs and outputs, in the order of the parameters.
            sizes: None: a GPU kernel has no symbolic sizes.

        Raises:
            UsageError: the number, a shape, a dtype or a layout differs, or arrays overlap.
            DeviceError: there is no device, or a package is missing.
            MeasureError: the kernel failed.
        """
        views = self._checked(arrays)
        with self._lock:
            opened = self._for(views)
            device = opened.device
            memories = [
                None if view is not None else _upload(device, arg, array)
                for arg, array, view in zip(self.artefact.args, arrays, views, strict=True)
            ]
            opened.loaded.launch([*_pointers(device, memories, views), *opened.buffers])
            for arg, array, memory in zip(self.artefact.args, arrays, memories, strict=True):
                if memory is not None and arg.is_output:
                    device.read(memory, array)
            if any(view is not None and view.queue is not None for view in views):
                device.wait()

    def bound(self, arrays: Sequence[Any], sizes: Sequence[int] = ()) -> Callable[[], None]:
        """Return a function that makes the same call again and again, checked once.

        Args:
            arrays: See `call`; all lie on the device, and stay alive with the function.
            sizes: See `call`.

        Raises:
            UsageError: see `call`; or an array lies on the host.
            DeviceError: see `call`.
            MeasureError: see `call`.
        """
        views = self._checked(arrays)
        for arg, view in zip(self.artefact.args, views, strict=True):
            if view is None:
                raise UsageError(f"'{arg.name}' lies on the host; a bound call takes device arrays")
        opened, kept = self._for(views), tuple(views)
        pointers = [*_pointers(opened.device, views, views), *opened.buffers]

        def call() -> None:
            assert kept
            with self._lock:
                opened.loaded.launch(pointers)

        return call

    def time(
        self,
        arrays: Sequence[Any],
        config: MeasureConfig | None = None,
        sizes: Sequence[int] = (),
    ) -> tuple[float, ...]:
        """Return seconds of one call by the device's clock, one figure a sample, after a warm-up.

        Raises:
            UsageError: see `call`.
            DeviceError: see `call`.
            MeasureError: see `call`.
        """
        chosen, views = config or MeasureConfig(), self._checked(arrays)
        with self._lock:
            opened = self._for(views)
            pairs = zip(self.artefact.args, arrays, views, strict=True)
            memories = [v if v is not None else _upload(opened.device, g, a) for g, a, v in pairs]
            held = [None if isinstance(memory, DeviceView) else memory for memory in memories]
            pointers = [*_pointers(opened.device, held, views), *opened.buffers]

            def time_calls(repeats: int) -> float:
                return opened.loaded.time([pointers], repeats, flush=chosen.flush)

            for _ in range(chosen.warmup):
                time_calls(1)
            return take_samples(time_calls, chosen, interruptions=lambda: 0)[0]

    def _checked(self, arrays: Sequence[Any]) -> list[DeviceView | None]:
        """The arrays that lie on a device, after all have been checked."""
        args = self.artefact.args
        if len(arrays) != len(args):
            names = ", ".join(arg.name for arg in args)
            raise UsageError(f"got {len(arrays)} arrays, expected {len(args)}: {names}")
        views = [device_view(array, arg) for arg, array in zip(args, arrays, strict=True)]
        for arg, array, view in zip(args, arrays, views, strict=True):
            if view is None:
                check_array(arg, DType.of(arg.dtype).numpy(), array)
            else:
                check_view(arg, view)
        self._check_overlaps(arrays, views)
        return views

    def _check_overlaps(self, arrays: Sequence[Any], views: Sequence[DeviceView | None]) -> None:
        """Refuse an output that shares memory with another argument."""
        spans = [_span(array, view) for array, view in zip(arrays, views, strict=True)]
        args = self.artefact.args
        for one, arg in enumerate(args):
            for other, (space, begin, end) in enumerate(spans):
                mine = spans[one]
                apart = space != mine[0] or begin >= mine[2] or mine[1] >= end
                if arg.is_output and other != one and not apart:
                    names = f"'{arg.name}' and '{args[other].name}'"
                    raise UsageError(f"{names} share memory; an output needs an array of its own")

    def _for(self, views: Sequence[DeviceView | None]) -> _Opened:
        """The kernel in the context of the arrays: OpenCL's belong to one."""
        queues = [view.queue for view in views if view is not None and view.queue is not None]
        kinds = {"opencl" if view.queue is not None else "cuda" for view in views if view}
        if kinds - {self.plan.kind}:
            raise UsageError(f"a kernel for {self.plan.kind} takes no arrays of {kinds.pop()}")
        for queue in queues:
            queue.finish()
        if not queues:
            return self._own
        from metasched.measure.gpu.opencl import OpenClDevice

        context = queues[0].context
        if context.int_ptr not in self._contexts:
            self._contexts[context.int_ptr] = self._open(OpenClDevice(context))
        return self._contexts[context.int_ptr]

    def _open(self, device: AbstractDevice) -> _Opened:
        loaded = device.load(self.artefact.path, self.plan)
        return _Opened(device, loaded, tuple(map(device.allocate, self.plan.buffers)))

    def _on_device(self, arg: ArgSpec, view: DeviceView) -> Any:
        if view.queue is None:
            return DeviceArray(self._own.device, arg)
        from importlib import import_module

        return import_module("pyopencl.array").empty(
            view.queue, arg.shape, DType.of(arg.dtype).numpy()
        )


def _pointers(
    device: AbstractDevice, memories: Sequence[Any], views: Sequence[DeviceView | None]
) -> list[Any]:
    return [
        view.pointer if view is not None else device.view(memory, 0, 0)
        for memory, view in zip(memories, views, strict=True)
    ]


def _upload(device: AbstractDevice, arg: ArgSpec, array: Array) -> Any:
    memory = device.allocate(array.nbytes)
    if not arg.is_output:
        device.write(memory, array)
    return memory


def _span(array: Any, view: DeviceView | None) -> tuple[str, int, int]:
    """Where an array lies: the kind of memory, and its first and last byte."""
    if view is None:
        begin = int(array.ctypes.data)
        return "host", begin, begin + array.nbytes
    size = int(np.prod(view.shape, dtype=np.int64)) * DType.of(view.dtype).bytes
    if view.queue is not None:
        return f"buffer {view.owner.base_data.int_ptr}", view.owner.offset, view.owner.offset + size
    return "cuda", int(view.pointer), int(view.pointer) + size
