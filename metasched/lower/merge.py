"""Pass: nested loops that walk memory as one loop would become that loop.

``for i: for j: p[i * 64 + j] = q[i * 64 + j]`` is one loop over all elements, which vectorises
without a remainder in every row. Read `vectorize` next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from metasched.ir.expr import Buffer, Expr, Load, Var, const, int_value, mul
from metasched.ir.stmt import For, Seq, Stmt, Store
from metasched.ir.walk import (
    expr_children,
    loads,
    map_exprs,
    map_stmts,
    stores,
    substitute_stmt,
)
from metasched.lower.affine import accumulates, int_coefficient, mentions
from metasched.lower.scope import Scope


def merge_loops(stmt: Stmt, scope: Scope) -> Stmt:
    """Merge two loops into one wherever every address allows it, innermost first."""
    return _Merge(scope, frozenset(s.buffer for s in stores(stmt) if accumulates(s))).visit(stmt)


@dataclass(frozen=True, slots=True)
class _Merge:
    scope: Scope
    summed: frozenset[Buffer]
    """Their tiles keep rows of whole vectors, so that filling and emptying them matches."""

    def visit(self, stmt: Stmt) -> Stmt:
        stmt = map_stmts(stmt, self.visit)
        if not isinstance(stmt, For) or not isinstance(stmt.body, For):
            return stmt
        outer, inner = stmt, stmt.body
        extent = int_value(inner.extent)
        if outer.kind != "serial" or inner.kind not in ("serial", "vectorized") or extent is None:
            return stmt
        body = inner.body.stmts if isinstance(inner.body, Seq) else (inner.body,)
        if not all(
            isinstance(s, Store) and _walks_on(s, outer.var, inner.var, extent) for s in body
        ):
            return stmt
        if self.splits_vectors(inner, extent):
            return stmt
        total = self.scope.simplify(mul(outer.extent, extent))
        kind = inner.kind if int_value(total) is not None else "serial"
        var = self.scope.fresh_var(inner.var.name, total)
        values: dict[Var, Expr] = {outer.var: const(0), inner.var: var}
        merged = map_exprs(substitute_stmt(inner.body, values), self.scope.simplify)
        return replace(inner, var=var, extent=total, kind=kind, body=merged)

    def splits_vectors(self, inner: For, extent: int) -> bool:
        """Whether vectors of the merged loop would straddle the rows of a sum's tile."""
        touched = {s.buffer for s in stores(inner)} | {x.buffer for x in loads(inner)}
        lanes = self.scope.target.vector_bits // max(b.dtype.bits for b in touched)
        return extent % max(lanes, 1) != 0 and not touched.isdisjoint(self.summed)


def _walks_on(store: Store, outer: Var, inner: Var, extent: int) -> bool:
    return _index_walks_on(store.indices[0], outer, inner, extent) and _value_walks_on(
        store.value, outer, inner, extent
    )


def _index_walks_on(index: Expr, outer: Var, inner: Var, extent: int) -> bool:
    step = int_coefficient(index, inner)
    return step is not None and int_coefficient(index, outer) == step * extent


def _value_walks_on(expr: Expr, outer: Var, inner: Var, extent: int) -> bool:
    """Whether the variables occur only in addresses, and those walk on."""
    if type(expr) is Load:
        return _index_walks_on(expr.indices[0], outer, inner, extent)
    if not mentions(expr, outer) and not mentions(expr, inner):
        return True
    children = expr_children(expr)
    return bool(children) and all(_value_walks_on(c, outer, inner, extent) for c in children)
