"""Which limits of a GPU a kernel must keep, as pairs of what it takes and what there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from metasched.analysis.kernels import Kernel
from metasched.ir.expr import Expr, mul

WORKING_REGISTERS: Final = 32
"""Registers of a thread for indices, operands and what the compiler needs."""


class Limits(Protocol):
    """What this module needs to know of a GPU; `metasched.target.gpu.GpuLimits` has it."""

    @property
    def max_threads_per_block(self) -> int:
        """Threads of one block."""
        ...

    @property
    def shared_bytes_optin(self) -> int:
        """Shared memory of a block, as much as may be asked for at launch."""
        ...

    @property
    def registers_per_block(self) -> int:
        """32-bit registers of a block."""
        ...

    @property
    def registers_per_thread(self) -> int:
        """32-bit registers of a thread."""
        ...


@dataclass(frozen=True, slots=True)
class Need:
    """One limit.

    Attributes:
        what: its name, for messages.
        amount: what the kernel takes.
        most: what the GPU has.
    """

    what: str
    amount: Expr
    most: int


def needs(kernel: Kernel, limits: Limits) -> tuple[Need, ...]:
    """The limits that a kernel must keep.

    The registers of a thread are what its own buffers take and `WORKING_REGISTERS`.
    """
    registers = kernel.local_words + WORKING_REGISTERS
    return (
        Need("threads of a block", kernel.threads, limits.max_threads_per_block),
        Need("bytes of shared memory", kernel.shared_bytes, limits.shared_bytes_optin),
        Need("registers of a thread", registers, limits.registers_per_thread),
        Need("registers of a block", mul(registers, kernel.threads), limits.registers_per_block),
    )
