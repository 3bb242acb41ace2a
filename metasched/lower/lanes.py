"""Scalar statements rewritten for several consecutive values of one variable at a time.

`vectorize` and `reductions` choose the loops; this is how their bodies change. Consecutive
addresses become ramps of step 1, invariant values broadcasts, irregular addresses vectors.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from metasched.errors import CodegenError
from metasched.ir.expr import (
    Binary,
    Broadcast,
    Call,
    Cast,
    Const,
    Expr,
    Load,
    Ramp,
    Select,
    Var,
    const,
)
from metasched.ir.stmt import For, Stmt, Store
from metasched.ir.walk import map_expr, map_stmts, substitute
from metasched.lower.affine import coefficient, has_load, mentions
from metasched.lower.scope import Scope


@dataclass(slots=True)
class Lanes:
    """Statements of ``lanes`` consecutive values of ``var``, from ``base`` on."""

    scope: Scope
    var: Var
    base: Expr
    lanes: int
    seen: dict[Expr, Expr] = field(default_factory=dict[Expr, Expr])

    def stmt(self, stmt: Stmt) -> Stmt:
        """A statement for all lanes.

        Raises:
            CodegenError: it writes one place in every lane.
        """
        match stmt:
            case Store():
                index = self.expr(stmt.indices[0])
                value = self.expr(stmt.value)
                if not mentions(stmt.indices[0], self.var) and not mentions(stmt.value, self.var):
                    return stmt
                if index.dtype.lanes != self.lanes:
                    raise CodegenError(
                        f"vectorised loop '{self.var.name}' writes one element of "
                        f"'{stmt.buffer.name}' many times; vectorise a spatial loop instead"
                    )
                return Store(stmt.buffer, (index,), self.widen(value))
            case For():
                return replace(stmt, body=self.stmt(stmt.body))
            case _:
                return map_stmts(stmt, self.stmt)

    def widen(self, expr: Expr) -> Expr:
        """A scalar repeated in every lane; vectors as they are."""
        if self.lanes == 1 or expr.dtype.lanes == self.lanes:
            return expr
        return Broadcast(expr, self.lanes)

    def expr(self, expr: Expr) -> Expr:
        """An expression for all lanes; a scalar where it is the same in all."""
        found = self.seen.get(expr)
        if found is None:
            found = self.seen[expr] = self._make(expr) if mentions(expr, self.var) else expr
        return found

    def _make(self, expr: Expr) -> Expr:
        if self.lanes == 1:
            return self.scope.simplify(substitute(expr, {self.var: self.base}))
        if expr.dtype.is_int and not has_load(expr):
            return self.index(expr)
        match expr:
            case Select() if not mentions(expr.cond, self.var):
                return Select(expr.cond, self.wide(expr.then), self.wide(expr.other))
            case Select():
                return Select(self.wide(expr.cond), self.wide(expr.then), self.wide(expr.other))
            case Binary():
                return Binary(expr.op, self.wide(expr.a), self.wide(expr.b))
            case Call():
                return Call(expr.fn, tuple(self.wide(a) for a in expr.args))
            case Cast():
                return Cast(expr.dtype.with_lanes(self.lanes), self.wide(expr.value))
            case Load():
                return Load(expr.buffer, (self.expr(expr.indices[0]),))
            case _:
                raise CodegenError(f"{type(expr).__name__} cannot be vectorised")

    def wide(self, expr: Expr) -> Expr:
        """An expression as a vector."""
        return self.widen(self.expr(expr))

    def index(self, expr: Expr) -> Expr:
        """An integer of ``var`` as a ramp where it is linear over the lanes."""
        simplify = self.scope.simplify
        stride = coefficient(expr, self.var)
        if stride is not None and not mentions(stride, self.var):
            first = simplify(substitute(expr, {self.var: self.base}))
            return first if stride == Const(0, stride.dtype) else Ramp(first, stride, self.lanes)
        lane = self.scope.fresh_var(f"{self.var.name}_lane", const(self.lanes))
        inside = simplify(substitute(expr, {self.var: self.base + lane}))
        stride = coefficient(inside, lane)
        if stride is not None:
            first = substitute(inside, {lane: const(0)})
            return first if stride == Const(0, stride.dtype) else Ramp(first, stride, self.lanes)
        return self.spread(inside, lane)

    def spread(self, expr: Expr, lane: Var) -> Expr:
        """An irregular integer as arithmetic on vectors, for gathers."""
        if not mentions(expr, lane):
            return Broadcast(expr, self.lanes)
        if type(expr) is Var:
            return Ramp(const(0), const(1), self.lanes)
        if isinstance(expr, Cast):
            return Cast(expr.dtype.with_lanes(self.lanes), self.spread(expr.value, lane))
        if isinstance(expr, Binary):
            return Binary(expr.op, self.spread(expr.a, lane), self.spread(expr.b, lane))
        if isinstance(expr, Cast):
            return Cast(expr.dtype.with_lanes(self.lanes), self.spread(expr.value, lane))
        return map_expr(expr, lambda e: self.spread(e, lane))
