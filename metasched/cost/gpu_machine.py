"""The few rates of a GPU that the analytic cost model needs, from the limits of the target."""

from __future__ import annotations

from dataclasses import dataclass

from metasched.target.gpu import GpuLimits

_L2_BYTES_PER_CLOCK = 64
"""What the second-level cache gives one multiprocessor in a clock."""

_SHARED_BYTES_PER_CLOCK = 128
_LAUNCH_S = 2.5e-6


@dataclass(frozen=True, slots=True)
class GpuMachine:
    """Rates of one GPU; bandwidths are bytes per second of all multiprocessors together.

    Attributes:
        limits: what a block and a multiprocessor hold.
        flops: float32 multiply-adds per second, each counted as one.
        shared_rate: of shared memory.
        l2_rate: of the second-level cache.
        memory_rate: of the memory.
        launch_s: seconds that a kernel takes besides its work.
    """

    limits: GpuLimits
    flops: float
    shared_rate: float
    l2_rate: float
    memory_rate: float
    launch_s: float

    @staticmethod
    def of(limits: GpuLimits) -> GpuMachine:
        """The rates that follow from clock, lanes and bandwidth."""
        clocks = float(limits.multiprocessors * limits.clock_hz)
        return GpuMachine(
            limits,
            clocks * limits.lanes,
            clocks * _SHARED_BYTES_PER_CLOCK,
            clocks * _L2_BYTES_PER_CLOCK,
            float(limits.memory_bytes_per_s),
            _LAUNCH_S,
        )
