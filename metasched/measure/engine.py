"""How kernels are loaded, fed and timed on one kind of device, behind one interface.

A `runner` decides what is asked and judges the results; here are the kernels of a CPU, those of
GPUs are in `metasched.measure.gpu`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Generic, TypeAlias, TypeVar, final

from metasched.measure.inputs import GuardedArray, make_arguments, poison
from metasched.measure.kept import Kept
from metasched.measure.kernel import LoadedKernel
from metasched.measure.noise import NoiseFloor
from metasched.measure.records import ArgSpec, Artefact, MeasureConfig
from metasched.measure.timing import TimeCalls, involuntary_switches

_KEPT_BYTES = 2 << 30

Arguments: TypeAlias = tuple[GuardedArray, ...]
K = TypeVar("K")
A = TypeVar("A")


class AbstractEngine(ABC, Generic[K, A]):
    """Kernels of type K on arguments of type A, in this process, which may not survive it.

    A runner has one engine for its life. For a candidate it calls `load`, `prepare` and `timer`,
    makes one call, judges `results`, and goes on with the timer; `drop` follows a wrong result.
    """

    @abstractmethod
    def load(self, artefact: Artefact) -> K:
        """Load a kernel.

        Raises:
            MeasureError: it cannot be loaded.
        """

    @abstractmethod
    def prepare(self, args: tuple[ArgSpec, ...], seed: int) -> A:
        """Return the inputs of a seed, and outputs that are poisoned afresh."""

    @abstractmethod
    def timer(
        self, kernel: K, args: Sequence[ArgSpec], arguments: A, config: MeasureConfig
    ) -> AbstractContextManager[TimeCalls]:
        """Provide a function that calls the kernel n times in a row and returns the seconds."""

    @abstractmethod
    def results(self, args: Sequence[ArgSpec], arguments: A) -> Arguments:
        """Return what the last kernel left in its arguments, with their guards."""

    @abstractmethod
    def drop(self, args: tuple[ArgSpec, ...], seed: int) -> None:
        """Forget inputs that a kernel may have destroyed."""

    @abstractmethod
    def interruptions(self) -> int:
        """Return a counter that moves when a sample is disturbed."""

    def conditions(self) -> Mapping[str, float]:
        """Return what the device says of itself now, by name."""
        return {}

    def noise_floor(self) -> float | None:
        """Return what times of a fixed piece of work differ by, where that is known."""
        return None

    @property
    def is_spent(self) -> bool:
        """Whether this process can serve no further request."""
        return False


@final
class CpuEngine(AbstractEngine[LoadedKernel, Arguments]):
    """Shared libraries, called on arrays of this process."""

    def __init__(self) -> None:
        self._arguments = Kept[Arguments](_KEPT_BYTES, _bytes)
        self._noise_floor = NoiseFloor()

    def load(self, artefact: Artefact) -> LoadedKernel:
        """Load a shared library; see `AbstractEngine.load`."""
        return LoadedKernel(artefact)

    def prepare(self, args: tuple[ArgSpec, ...], seed: int) -> Arguments:
        """Return arrays; see `AbstractEngine.prepare`."""
        arguments = self._arguments.get((args, seed), lambda: make_arguments(args, seed))
        for arg, guarded in zip(args, arguments, strict=True):
            if arg.is_output:
                poison(guarded.array, arg.dtype)
        return arguments

    def timer(
        self,
        kernel: LoadedKernel,
        args: Sequence[ArgSpec],
        arguments: Arguments,
        config: MeasureConfig,
    ) -> AbstractContextManager[TimeCalls]:
        """Time calls from C; see `AbstractEngine.timer`."""
        return kernel.timer([guarded.array for guarded in arguments], flush=config.flush)

    def results(self, args: Sequence[ArgSpec], arguments: Arguments) -> Arguments:
        """The arguments themselves."""
        return arguments

    def drop(self, args: tuple[ArgSpec, ...], seed: int) -> None:
        """Forget inputs; see `AbstractEngine.drop`."""
        self._arguments.drop((args, seed))

    def interruptions(self) -> int:
        """How often a thread of this process lost its core."""
        return involuntary_switches()

    def noise_floor(self) -> float:
        """That of this host."""
        return self._noise_floor()


def _bytes(arguments: Arguments) -> int:
    return sum(guarded.memory.nbytes for guarded in arguments)
