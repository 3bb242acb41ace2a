"""Pass 5: vectorised loops become explicit vector expressions.

An extent splits into power-of-two pieces no wider than a register (48 floats are 3 x 16, 7 are
4 + 2 + 1). Consecutive addresses become vector loads and stores, everything else is gathered or
scattered lane by lane. Innermost loops that write consecutive elements independently are
vectorised without being asked. Loops that cannot be vectorised become serial. Read `tiles` next.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from metasched.ir.expr import (
    Expr,
    Load,
    Var,
    const,
    int_value,
    mul,
)
from metasched.ir.stmt import Alloc, For, If, Seq, Stmt, Store, seq
from metasched.ir.walk import loads, map_stmts, stores, walk
from metasched.lower.affine import int_coefficient, mentions
from metasched.lower.lanes import Lanes
from metasched.lower.reductions import vector_reduction
from metasched.lower.scope import Scope

_INLINE_PIECES: Final = 8
"""Full-width pieces of one loop up to which they are worth unrolling."""


def vectorize(stmt: Stmt, scope: Scope) -> Stmt:
    """Replace vectorised loops by vector statements.

    Raises:
        CodegenError: a vectorised loop reduces into one location.
    """
    if not isinstance(stmt, For):
        return map_stmts(stmt, lambda s: vectorize(s, scope))
    body = vectorize(stmt.body, scope)
    loop = stmt if body is stmt.body else replace(stmt, body=body)
    if loop.kind == "vectorized" and _can_vectorize(loop):
        return _pieces(loop, scope)
    if loop.kind == "serial":
        if _is_independent(loop):
            return _pieces(loop, scope)
        return vector_reduction(loop, scope) or loop
    return replace(loop, kind="serial") if loop.kind == "vectorized" else loop


def _can_vectorize(loop: For) -> bool:
    if int_value(loop.extent) is None:
        return False
    for node in walk(loop.body):
        match node:
            case Alloc():
                return False
            case For() if node.kind != "serial" or mentions(node.extent, loop.var):
                return False
            case If() if mentions(node.cond, loop.var):
                return False
            case Store() if any(e.dtype.lanes > 1 for e in (*node.indices, node.value)):
                return False
            case Store() if not mentions(node.indices[0], loop.var) and _differs(node, loop.var):
                return False
            case _:
                pass
    return True


def _differs(store: Store, var: Var) -> bool:
    """Whether a store to one place leaves another value there in each iteration."""
    return mentions(store.value, var) or any(x.buffer == store.buffer for x in loads(store))


def _is_independent(loop: For) -> bool:
    """Whether a serial innermost loop writes consecutive elements that it reads nowhere else."""
    body = loop.body.stmts if isinstance(loop.body, Seq) else (loop.body,)
    extent = int_value(loop.extent)
    if extent is None or extent < 4 or not all(type(s) is Store for s in body):
        return False
    own = {s.buffer: s.indices for s in stores(loop.body)}
    if len(own) != len(body):
        return False
    return all(
        int_coefficient(i, loop.var) == 1 for indices in own.values() for i in indices
    ) and all(_reads_regularly(load, own.get(load.buffer), loop.var) for load in loads(loop.body))


def _reads_regularly(load: Load, own: tuple[Expr, ...] | None, var: Var) -> bool:
    if own is not None and load.indices != own:
        return False
    return all(int_coefficient(i, var) in (0, 1) for i in load.indices)


def _pieces(loop: For, scope: Scope) -> Stmt:
    extent = int_value(loop.extent)
    assert extent is not None
    widest = max(node.buffer.dtype.bits for node in (*stores(loop.body), *loads(loop.body)))
    lanes = max(1, scope.target.vector_bits // widest)
    parts: list[Stmt] = []
    start = 0
    while start < extent:
        if lanes > extent - start:
            lanes //= 2
            continue
        count = (extent - start) // lanes
        if start == 0 and count > 1:
            parts.append(_chunks(loop, lanes, count, scope))
            start = count * lanes
        else:
            parts.append(Lanes(scope, loop.var, const(start), lanes).stmt(loop.body))
            start += lanes
    return seq(*parts)


def _chunks(loop: For, lanes: int, count: int, scope: Scope) -> Stmt:
    chunk = scope.fresh_var(f"{loop.var.name}_v", const(count))
    body = Lanes(scope, loop.var, mul(chunk, lanes), lanes).stmt(loop.body)
    kind = "unrolled" if count <= _INLINE_PIECES else "serial"
    return For(chunk, const(count), body, kind, annotations=loop.annotations)
