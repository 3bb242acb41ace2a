"""Pass: a choice by position, such as padding, splits its loops instead of testing every element.

``for w: p[w] = x[w - 3] if 3 <= w < 227 else 0`` becomes a loop for the left border, one for the
middle and one for the right border; conditions on outer loops are tested once a row. Read `merge`
next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from metasched.ir.expr import (
    Binary,
    Expr,
    Select,
    all_of,
    const,
    int_value,
    maximum,
    minimum,
    sub,
)
from metasched.ir.stmt import For, If, Stmt, Store, seq
from metasched.ir.walk import map_exprs, map_stmts, substitute, substitute_stmt
from metasched.lower.affine import int_coefficient, mentions
from metasched.lower.guards import conjuncts
from metasched.lower.scope import Scope


def split_selects(stmt: Stmt, scope: Scope) -> Stmt:
    """Split the loops around stores whose value is a choice by bounds of the loop variables."""
    if isinstance(stmt, For):
        split = _split_nest(stmt, scope)
        if split is not None:
            return split
    return map_stmts(stmt, lambda s: split_selects(s, scope))


def _split_nest(outer: For, scope: Scope) -> Stmt | None:
    loops: list[For] = []
    stmt: Stmt = outer
    while isinstance(stmt, For):
        loops.append(stmt)
        stmt = stmt.body
    if not isinstance(stmt, Store) or not isinstance(stmt.value, Select):
        return None
    terms = list(conjuncts(stmt.value.cond))
    if not any(mentions(term, loop.var) for term in terms for loop in loops):
        return None
    for term in terms:
        owners = [loop for loop in loops if mentions(term, loop.var)]
        if len(owners) > 1 or (owners and _bound(term, owners[0], scope) is None):
            return None
    split = _Split(scope, stmt, stmt.value, terms)
    fixed = [t for t in terms if not any(mentions(t, loop.var) for loop in loops)]
    return (
        If(all_of(fixed), split.build(loops), split.outside(loops)) if fixed else split.build(loops)
    )


def _bound(term: Expr, loop: For, scope: Scope) -> tuple[str, Expr] | None:
    """The term as ("from", first) or ("to", end) of the loop's variable."""
    if not isinstance(term, Binary) or term.op not in ("lt", "le"):
        return None
    excess = scope.simplify(sub(term.a, term.b))
    step = int_coefficient(excess, loop.var)
    rest = scope.simplify(substitute(excess, {loop.var: const(0, loop.var.dtype)}))
    slack = 1 if term.op == "le" else 0
    if step == 1:  # var + rest < 0
        return "to", scope.simplify(sub(slack, rest))
    if step == -1:  # rest < var
        return "from", scope.simplify(rest + (1 - slack))
    return None


@dataclass(frozen=True, slots=True)
class _Split:
    scope: Scope
    store: Store
    choice: Select
    terms: list[Expr]

    def build(self, loops: Sequence[For]) -> Stmt:
        """The nest over ``loops``; the conditions on loops further out hold."""
        if not loops:
            return Store(self.store.buffer, self.store.indices, self.choice.then)
        loop, inner = loops[0], loops[1:]
        own = [t for t in self.terms if mentions(t, loop.var)]
        if not own:
            return replace(loop, body=self.build(inner))
        if loop.kind == "parallel" or any(mentions(t, x.var) for t in self.terms for x in inner):
            test = If(all_of(own), self.build(inner), self.outside(inner))
            return replace(loop, body=test)
        return self.ranges(loop, own, inner)

    def outside(self, loops: Sequence[For]) -> Stmt:
        """The nest where the condition fails."""
        body: Stmt = Store(self.store.buffer, self.store.indices, self.choice.other)
        for loop in reversed(loops):
            body = replace(loop, body=body)
        return body

    def ranges(self, loop: For, terms: list[Expr], inner: Sequence[For]) -> Stmt:
        """The border before, the middle and the border after."""
        low: Expr = const(0)
        high: Expr = loop.extent
        for term in terms:
            bound = _bound(term, loop, self.scope)
            assert bound is not None
            if bound[0] == "from":
                low = maximum(low, bound[1])
            else:
                high = minimum(high, bound[1])
        low = self.scope.simplify(minimum(low, loop.extent))
        high = self.scope.simplify(maximum(high, low))
        border = self.outside(inner)
        return seq(
            *self.part(loop, const(0), low, border),
            *self.part(loop, low, high, self.build(inner)),
            *self.part(loop, high, loop.extent, border),
        )

    def part(self, loop: For, start: Expr, end: Expr, body: Stmt) -> list[Stmt]:
        """The loop over ``[start, end)``, nothing where that is empty."""
        extent = self.scope.simplify(sub(end, start))
        if int_value(extent) == 0:
            return []
        if int_value(extent) == 1:
            only = substitute_stmt(body, {loop.var: start})
            return [map_exprs(only, self.scope.simplify)]
        kind = loop.kind if int_value(extent) is not None else "serial"
        var = self.scope.fresh_var(loop.var.name, extent)
        moved = map_exprs(substitute_stmt(body, {loop.var: var + start}), self.scope.simplify)
        return [replace(loop, var=var, extent=extent, kind=kind, body=moved)]
