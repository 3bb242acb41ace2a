"""The few rates of a machine that the analytic cost model needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from metasched.cost.gpu_machine import GpuMachine
from metasched.target import Target
from metasched.target.peak import measure_peak


@dataclass(frozen=True, slots=True)
class Machine:
    """Rates of one CPU; bandwidths are bytes per second.

    Attributes:
        cores: cores that a parallel loop uses.
        vector_bytes: bytes of a machine vector.
        registers: vector registers.
        cycle_s: seconds of one vector multiply-add at full rate.
        l1_bytes: first-level data cache of a core.
        l2_bytes: second-level cache of a core.
        l3_bytes: last-level cache, shared.
        l2_rate: from the second level to one core.
        l3_rate: from the last level to one core.
        memory_rate: from memory to all cores together.
        fork_s: seconds to start and join a parallel loop.
    """

    cores: int
    vector_bytes: int
    registers: int
    cycle_s: float
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int
    l2_rate: float
    l3_rate: float
    memory_rate: float
    fork_s: float = 1.5e-6


AnyMachine: TypeAlias = "Machine | GpuMachine"
"""What candidates are scored for."""


def machine_of(target: Target) -> AnyMachine:
    """The rates of a target: of this host measured once and then cached, of a GPU by its limits.

    Raises:
        ToolchainError: there is no compiler to measure with.
    """
    if target.gpu is not None:
        return GpuMachine.of(target.gpu)
    peak = measure_peak(target)
    lanes = target.vector_bits // 32
    return Machine(
        cores=target.cores,
        vector_bytes=target.vector_bits // 8,
        registers=target.vector_registers,
        cycle_s=2.0 * lanes * target.cores / peak.float32_flops,
        l1_bytes=target.l1_bytes,
        l2_bytes=target.l2_bytes,
        l3_bytes=target.l3_bytes,
        l2_rate=peak.l2_bytes_per_s / target.cores,
        l3_rate=peak.l3_bytes_per_s / target.cores,
        memory_rate=peak.memory_bytes_per_s,
    )
