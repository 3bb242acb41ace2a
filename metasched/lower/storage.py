"""Last pass: where each allocation lives, so that kernels never allocate.

Named variables are the compiler's. Small buffers of one thread are arrays on its stack. Buffers
that several threads share, and large ones, are slots of the workspace that the caller passes; one
slot for each thread where the buffer is private.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from metasched.ir.expr import Buffer
from metasched.ir.stmt import Alloc, For, Stmt
from metasched.ir.walk import child_stmts
from metasched.lower.flatten import constant_elements
from metasched.lower.scope import Machine

ALIGNMENT: Final = 64
STACK_BYTES: Final = 64 * 1024
"""Largest buffer on a thread's stack."""

STACK_TOTAL_BYTES: Final = 256 * 1024
"""Most bytes of live buffers on a thread's stack."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A buffer's place in the workspace: ``offset + thread * stride``, in bytes."""

    offset: int
    stride: int = 0


@dataclass(slots=True)
class Storage:
    """The slots by buffer name and the bytes that the caller provides."""

    machine: Machine
    slots: dict[str, Slot] = field(default_factory=dict[str, Slot])
    total: int = 0

    def visit(self, stmt: Stmt, *, threaded: bool = False, stack: int = 0) -> None:
        """Assign a place to every allocation of ``stmt``.

        Raises:
            CodegenError: an allocation has a symbolic size.
        """
        match stmt:
            case Alloc() if stmt.buffer.scope != "register":
                size = padded_bytes(stmt.buffer)
                shared = not threaded and _has_parallel(stmt.body)
                if shared or size > STACK_BYTES or stack + size > STACK_TOTAL_BYTES:
                    self.reserve(stmt.buffer.name, size, self.machine.cores if threaded else 1)
                else:
                    stack += size
            case For(kind="parallel"):
                threaded = True
            case _:
                pass
        for child in child_stmts(stmt):
            self.visit(child, threaded=threaded, stack=stack)

    def reserve(self, name: str, size: int, copies: int) -> None:
        """Take ``copies`` slots of ``size`` bytes for a buffer (both versions of a tile share)."""
        if name in self.slots:
            return
        self.slots[name] = Slot(self.total, size if copies > 1 else 0)
        self.total += size * copies


def padded_bytes(buffer: Buffer) -> int:
    """Bytes of a flat buffer, rounded up to the alignment."""
    size = constant_elements(buffer) * buffer.dtype.bytes
    return -(-size // ALIGNMENT) * ALIGNMENT


def _has_parallel(stmt: Stmt) -> bool:
    if isinstance(stmt, For) and stmt.kind == "parallel":
        return True
    return any(_has_parallel(child) for child in child_stmts(stmt))
