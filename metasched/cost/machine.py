"""The few rates of a CPU that the analytic cost model needs."""

from __future__ import annotations

from dataclasses import dataclass


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
