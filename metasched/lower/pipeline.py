"""From a scheduled program to statements that a printer writes out: the passes in order.

Each pass is one module with one function of a statement and the shared `Scope`; the list below
is the story. Read `blocks` first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from metasched.errors import CodegenError
from metasched.ir.expr import Buffer, Expr, Var
from metasched.ir.scopes import CPU_MEMORY
from metasched.ir.stmt import For, Program, Stmt
from metasched.ir.walk import blocks, walk, walk_expr
from metasched.lower.blocks import lower_blocks
from metasched.lower.buffers import place_buffers
from metasched.lower.externs import check_externs
from metasched.lower.flatten import flat_buffer, flatten
from metasched.lower.gpu.kernel import GpuLowered
from metasched.lower.gpu.pipeline import lower_gpu
from metasched.lower.guards import hoist_guards
from metasched.lower.merge import merge_loops
from metasched.lower.procedures import write_out
from metasched.lower.registers import promote_registers
from metasched.lower.reuse import reuse_loads
from metasched.lower.scope import Machine, Scope
from metasched.lower.selects import split_selects
from metasched.lower.storage import Slot, Storage
from metasched.lower.tiles import tile_registers
from metasched.lower.unroll import unroll
from metasched.lower.vectorize import vectorize

Pass = Callable[[Stmt, Scope], Stmt]

PASSES: Final[tuple[Pass, ...]] = (
    place_buffers,
    flatten,
    hoist_guards,
    split_selects,
    merge_loops,
    vectorize,
    tile_registers,
    unroll,
    promote_registers,
    reuse_loads,
)
"""What happens after `lower_blocks`, in order."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """A program ready to be printed for one target.

    Args:
        name: the program's name.
        params: one-dimensional parameters, in the program's order.
        sizes: symbolic sizes in order of first appearance in the parameters' shapes.
        body: statements without blocks; vectors, registers and allocations are explicit.
        slots: the place in the workspace of the buffers that live there, by name.
        workspace_bytes: what the caller provides, 64-byte aligned.
        ranges: extents of the loop variables, for the printer's proofs.
    """

    name: str
    params: tuple[Buffer, ...]
    sizes: tuple[Var, ...]
    body: Stmt
    slots: Mapping[str, Slot]
    workspace_bytes: int
    ranges: Mapping[Var, Expr]


def lower(program: Program, target: Machine) -> Lowered | GpuLowered:
    """Lower a scheduled program (on a CPU also an unscheduled one) for a target.

    Raises:
        CodegenError: the program has what the target cannot do; the message says what.
    """
    return lower_cpu(program, target) if target.kind == "cpu" else lower_gpu(program, target)


def lower_cpu(program: Program, target: Machine) -> Lowered:
    """Lower a scheduled (or unscheduled) program for a CPU target.

    Raises:
        CodegenError: the program has what the target cannot do; the message says what.
    """
    _check_memory(program)
    _check_threads(program)
    check_externs(program.root, target)
    scope = Scope(program, target)
    return run_passes(program, scope, PASSES)


def _check_memory(program: Program) -> None:
    for block in blocks(program.root):
        for buffer in block.allocs:
            if buffer.scope not in CPU_MEMORY:
                raise CodegenError(
                    f"buffer '{buffer.name}' lives in '{buffer.scope}' memory, which a CPU does "
                    f"not have; set_scope to one of {', '.join(sorted(CPU_MEMORY))}"
                )


def _check_threads(program: Program) -> None:
    for loop in walk(program.root):
        if isinstance(loop, For) and loop.kind == "thread":
            raise CodegenError(
                f"loop '{loop.var.name}' is bound to '{loop.thread}', which a CPU does not have; "
                "use parallel"
            )


def run_passes(program: Program, scope: Scope, passes: tuple[Pass, ...]) -> Lowered:
    """Lower blocks, run ``passes`` and assign storage."""
    stmt = write_out(lower_blocks(program.root, scope), scope)
    for step in passes:
        stmt = step(stmt, scope)
    storage = Storage(scope.target)
    storage.visit(stmt)
    return Lowered(
        name=program.name,
        params=tuple(flat_buffer(p) for p in program.params),
        sizes=_sizes(program),
        body=stmt,
        slots=storage.slots,
        workspace_bytes=storage.total,
        ranges=scope.ranges,
    )


def _sizes(program: Program) -> tuple[Var, ...]:
    found: dict[Var, None] = {}
    for buffer in program.params:
        if any(e.dtype.code != "int" for e in buffer.shape):
            raise CodegenError(f"parameter '{buffer.name}' has a size that is not an integer")
        for extent in buffer.shape:
            found.update((v, None) for v in walk_expr(extent) if type(v) is Var)
    return tuple(found)
