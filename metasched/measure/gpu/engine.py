"""Feeds and times candidates on a GPU; `metasched.measure.runner` decides what is asked of it."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, final

import numpy as np

from metasched.measure.engine import AbstractEngine
from metasched.measure.gpu.device import AbstractDevice, AbstractLoaded, open_device
from metasched.measure.gpu.plan import LaunchPlan
from metasched.measure.inputs import GuardedArray, make_arguments, poison
from metasched.measure.kept import Kept
from metasched.measure.kernel import Array
from metasched.measure.records import ArgSpec, Artefact, MeasureConfig
from metasched.measure.runner import Runner
from metasched.measure.timing import TimeCalls

_PAGE: Final = 4096
"""What an array begins at a multiple of, and how much lies around it; more than any device asks."""

_KEPT_BYTES: Final = 8 << 30
_MOST_SETS: Final = 64


def gpu_runner(scratch: str) -> Runner:
    """Return a runner whose kernels are on a GPU, each artefact on the device that it is for."""
    return Runner(scratch, GpuEngine())


@dataclass(frozen=True, slots=True)
class GpuKernel:
    """A loaded kernel, the device it is on, and memory for its intermediates."""

    device: AbstractDevice
    loaded: AbstractLoaded
    buffers: tuple[Any, ...]


@dataclass(slots=True)
class GpuArguments:
    """The arrays of one set of parameters: on the host as made, and on a device once used.

    Attributes:
        made: The inputs with their guards, and outputs that are poisoned.
        memories: Device memory for each, by device; further copies for calls that take turns.
        poison: Device memory that holds a poisoned output, for each output by number and device.
        received: Host memory that results are fetched into, by number of the array.
        device: Where the arrays were used last.
    """

    made: tuple[GuardedArray, ...]
    memories: dict[int, list[list[Any]]] = field(default_factory=dict[int, list[list[Any]]])
    poison: dict[tuple[int, int], Any] = field(default_factory=dict[tuple[int, int], Any])
    received: dict[int, Array] = field(default_factory=dict[int, Array])
    device: AbstractDevice | None = None


@final
class GpuEngine(AbstractEngine[GpuKernel, GpuArguments]):
    """Kernels on the GPUs of this process.

    Each array has the guards of the host's around it, on the device too.
    """

    def __init__(self) -> None:
        self._arguments = Kept[GpuArguments](_KEPT_BYTES, _bytes)
        self._devices: dict[int, AbstractDevice] = {}

    @property
    def is_spent(self) -> bool:
        """Whether a device was lost."""
        return any(device.is_lost for device in self._devices.values())

    def load(self, artefact: Artefact) -> GpuKernel:
        """Load the kernels of a plan; see `AbstractEngine.load`."""
        plan = LaunchPlan.read(artefact.path)
        device = open_device(plan.kind, plan.arch)
        self._devices[id(device)] = device
        loaded = device.load(artefact.path, plan)
        return GpuKernel(device, loaded, tuple(_scratch(device, size) for size in plan.buffers))

    def prepare(self, args: tuple[ArgSpec, ...], seed: int) -> GpuArguments:
        """Return the inputs of a seed; outputs are poisoned when a kernel takes them."""
        return self._arguments.get((args, seed), lambda: GpuArguments(make_arguments(args, seed)))

    def drop(self, args: tuple[ArgSpec, ...], seed: int) -> None:
        """Forget inputs."""
        self._arguments.drop((args, seed))

    @contextmanager
    def timer(
        self,
        kernel: GpuKernel,
        args: Sequence[ArgSpec],
        arguments: GpuArguments,
        config: MeasureConfig,
    ) -> Generator[TimeCalls]:
        """Put poisoned outputs on the device and provide the timer."""
        device = arguments.device = kernel.device
        sets = arguments.memories.setdefault(id(device), [])
        while len(sets) < _sets_wanted(device, arguments, config):
            sets.append([_upload(device, guarded) for guarded in arguments.made])
        _poison(args, arguments, device, sets[0])
        pointers = [
            [*map(partial(_view, device), arguments.made, memories), *kernel.buffers]
            for memories in sets
        ]
        wanted = pointers if config.rotate else pointers[:1]

        def time_calls(repeats: int) -> float:
            return kernel.loaded.time(wanted, repeats, flush=config.flush)

        yield time_calls

    def results(self, args: Sequence[ArgSpec], arguments: GpuArguments) -> tuple[GuardedArray, ...]:
        """Fetch the arrays with their guards from where the last kernel ran."""
        assert arguments.device is not None
        device = arguments.device
        (memories, *_) = arguments.memories[id(device)]
        return tuple(
            _download(device, arguments, number, memory) for number, memory in enumerate(memories)
        )

    def interruptions(self) -> int:
        """0: nothing else of this host disturbs a GPU."""
        return 0

    def conditions(self) -> Mapping[str, float]:
        """What the devices say of themselves."""
        return {k: v for device in self._devices.values() for k, v in device.conditions().items()}


def _poison(
    args: Sequence[ArgSpec],
    arguments: GpuArguments,
    device: AbstractDevice,
    memories: Sequence[Any],
) -> None:
    """Overwrite the outputs with their guards from a copy on the device, made once."""
    for number, (arg, guarded) in enumerate(zip(args, arguments.made, strict=True)):
        if arg.is_output:
            key = (number, id(device))
            if key not in arguments.poison:
                poison(guarded.array, arg.dtype)
                arguments.poison[key] = _upload(device, guarded)
            device.copy(memories[number], arguments.poison[key], _size(guarded))


def _sets_wanted(device: AbstractDevice, arguments: GpuArguments, config: MeasureConfig) -> int:
    """How many copies of the arrays are larger than the cache, with one to spare."""
    if not config.rotate:
        return 1
    size = max(1, sum(guarded.array.nbytes for guarded in arguments.made))
    return min(_MOST_SETS, 2 + device.cache_bytes // size)


def _scratch(device: AbstractDevice, size: int) -> Any:
    """Memory for an intermediate, filled with NaN so that reading what was not written shows."""
    memory = device.allocate(size)
    device.write(memory, np.full(size, 0xFF, np.uint8))
    return memory


def _head(guarded: GuardedArray) -> int:
    """Bytes of the guard before an array."""
    return int(guarded.array.ctypes.data - guarded.memory.ctypes.data)


def _size(guarded: GuardedArray) -> int:
    """Bytes of the device memory for an array and what lies around it."""
    return guarded.array.nbytes + 2 * _PAGE


def _upload(device: AbstractDevice, guarded: GuardedArray) -> Any:
    memory = device.allocate(_size(guarded))
    device.write(memory, guarded.memory, _PAGE - _head(guarded))
    return memory


def _view(device: AbstractDevice, guarded: GuardedArray, memory: Any) -> Any:
    return device.view(memory, _PAGE, guarded.array.nbytes)


def _download(
    device: AbstractDevice, arguments: GpuArguments, number: int, memory: Any
) -> GuardedArray:
    guarded = arguments.made[number]
    if number not in arguments.received:
        arguments.received[number] = device.host_memory(guarded.memory.nbytes)
    fetched, head = arguments.received[number], _head(guarded)
    device.read(memory, fetched, _PAGE - head)
    array: Array = fetched[head : head + guarded.array.nbytes].view(guarded.array.dtype)
    return GuardedArray(array.reshape(guarded.array.shape), fetched, guarded.fingerprint)


def _bytes(arguments: GpuArguments) -> int:
    copies = 3 + sum(len(sets) for sets in arguments.memories.values())
    return copies * sum(guarded.memory.nbytes for guarded in arguments.made)
