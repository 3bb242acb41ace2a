"""What lowering for a GPU makes: the kernels of a program, each as the work of one thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Final

from metasched.ir.expr import Buffer, Expr, Var
from metasched.ir.stmt import Invoke, Stmt

BLOCK_AXES: Final = ("blockIdx.x", "blockIdx.y", "blockIdx.z")
THREAD_AXES: Final = ("threadIdx.x", "threadIdx.y", "threadIdx.z")
"""The axes of real threads, the one that varies first within a warp in front."""

PRIVATE: Final = frozenset({"local", "register"})
"""Scopes of which each thread has its own."""

BARRIER: Final = "barrier"
"""The procedure at which the threads of a block wait for each other."""

HERE: Final = Invoke("barrier_if_needed")
"""A good place for a barrier, if one is needed."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A thread axis of one kernel: the variable that stands for it, and its extent."""

    name: str
    var: Var
    extent: int


@dataclass(frozen=True, slots=True)
class Kernel:
    """The work of one thread.

    Args:
        name: the name of the kernel.
        axes: all six axes by name, those that nothing is bound to with an extent of 1.
        body: statements of one thread; the variables of the axes tell it from the others.
        shared: flat buffers of a block.
    """

    name: str
    axes: Mapping[str, Axis]
    body: Stmt
    shared: tuple[Buffer, ...] = ()

    @property
    def block_axes(self) -> tuple[Axis, ...]:
        """The axes of the grid, x first."""
        return tuple(self.axes[name] for name in BLOCK_AXES)

    @property
    def thread_axes(self) -> tuple[Axis, ...]:
        """The axes of a block, x first."""
        return tuple(self.axes[name] for name in THREAD_AXES)

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return prod(axis.extent for axis in self.thread_axes)


@dataclass(frozen=True, slots=True)
class GpuLowered:
    """A program ready to be printed for a GPU.

    Args:
        name: the program's name.
        params: one-dimensional parameters, in the program's order.
        temporaries: flat buffers in device memory that kernels leave to each other.
        kernels: in the order to launch them.
        ranges: extents of the loop variables and axes, for the printer's proofs.
    """

    name: str
    params: tuple[Buffer, ...]
    temporaries: tuple[Buffer, ...]
    kernels: tuple[Kernel, ...]
    ranges: Mapping[Var, Expr] = field(default_factory=dict[Var, Expr])
