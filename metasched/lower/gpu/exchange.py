"""Check: what a thread, or a block, keeps for itself, no other one needs.

A schedule may read a ``local`` buffer outside of the thread-bound loop in which it was written, or
a ``shared`` one outside of its block. On a CPU that is one memory; on a GPU the value is elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from metasched.errors import CodegenError
from metasched.ir.expr import Buffer, Expr, Var, int_value
from metasched.ir.stmt import For, If, Invoke, Stmt, Store
from metasched.ir.threads import SHARED
from metasched.ir.walk import child_stmts, stmt_exprs
from metasched.lower.affine import variables
from metasched.lower.gpu.footprints import Access, Footprints, accesses_of
from metasched.lower.gpu.kernel import BLOCK_AXES, THREAD_AXES, Axis
from metasched.lower.scope import Scope


def check_exchange(stmt: Stmt, axes: Mapping[str, Axis], scope: Scope) -> None:
    """Refuse buffers through which threads would exchange values but cannot.

    Raises:
        CodegenError: one thread needs what another one keeps, or one block what another one does.
    """
    threads = [axes[name] for name in THREAD_AXES if axes[name].extent > 1]
    grid = [axes[name] for name in BLOCK_AXES if axes[name].extent > 1]
    found: dict[Buffer, list[Access]] = {}
    for access in _accesses(stmt, (), ()):
        found.setdefault(access.buffer, []).append(access)
    for buffer, accesses in found.items():
        if buffer.scope == "local" and _apart(accesses, threads, (), scope):
            raise CodegenError(
                f"buffer '{buffer.name}' is 'local', but one thread needs what another one stores "
                "there; set_scope to shared, or read it inside the thread-bound loops around its "
                "writer"
            )
        if buffer.scope in ("local", *SHARED) and _apart(accesses, grid, threads, scope):
            raise CodegenError(
                f"buffer '{buffer.name}' is '{buffer.scope}', but one block needs what another one "
                "stores there; read it inside the loops on blockIdx around its writer"
            )


def _apart(
    accesses: Sequence[Access], axes: Sequence[Axis], inside: Sequence[Axis], scope: Scope
) -> bool:
    """Whether two positions on some axes touch one element, for all that is known."""
    # An axis that no index mentions has a copy of each element at each of its positions.
    used = set[Var]().union(*(variables(a.index) for a in accesses))
    axes = [axis for axis in axes if axis.var in used]
    if not axes:
        return False
    spread = [_under(access, inside) for access in accesses]
    footprints = Footprints(axes, scope)
    return any(footprints.conflict(a, b) for a in spread for b in spread if a.writes)


def _under(access: Access, axes: Sequence[Axis]) -> Access:
    for axis in axes:
        access = access.under(axis.var, axis.extent)
    return access


def _accesses(stmt: Stmt, loops: tuple[For, ...], conditions: tuple[Expr, ...]) -> Iterator[Access]:
    for access in _own(stmt, conditions):
        for loop in loops:
            access = access.under(loop.var, int_value(loop.extent) or 1)
        yield access
    match stmt:
        case For():
            yield from _accesses(stmt.body, (*loops, stmt), conditions)
        case If():
            yield from _accesses(stmt.then, loops, (*conditions, stmt.cond))
            if stmt.other is not None:
                yield from _accesses(stmt.other, loops, conditions)
        case _:
            for child in child_stmts(stmt):
                yield from _accesses(child, loops, conditions)


def _own(stmt: Stmt, conditions: tuple[Expr, ...]) -> Iterator[Access]:
    if isinstance(stmt, Store) and stmt.indices:
        yield Access(stmt.buffer, stmt.indices[0], True, (), conditions)
    if isinstance(stmt, Invoke):
        for place in stmt.outputs:
            yield Access(place.buffer, place.indices[0], True, (), conditions)
    yield from accesses_of(stmt_exprs(stmt), conditions)
