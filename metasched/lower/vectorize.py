"""Pass 5: vectorised loops become explicit vector expressions.

An extent splits into power-of-two pieces no wider than a register (48 floats are 3 x 16, 7 are
4 + 2 + 1). Consecutive addresses become vector loads and stores, everything else is gathered or
scattered lane by lane. Innermost loops that write consecutive elements independently are
vectorised without being asked. Loops that cannot be vectorised become serial. Read `tiles` next.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

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
    int_value,
    mul,
)
from metasched.ir.stmt import Alloc, For, If, Seq, Stmt, Store, seq
from metasched.ir.walk import loads, map_expr, map_stmts, stores, substitute, walk
from metasched.lower.affine import coefficient, has_load, int_coefficient, mentions
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
    if loop.kind == "serial" and _is_independent(loop):
        return _pieces(loop, scope)
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
            case Store() if node.indices[0].dtype.lanes > 1 or node.value.dtype.lanes > 1:
                return False
            case _:
                pass
    return True


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
            parts.append(_Vector(scope, loop.var, const(start), lanes).stmt(loop.body))
            start += lanes
    return seq(*parts)


def _chunks(loop: For, lanes: int, count: int, scope: Scope) -> Stmt:
    chunk = scope.fresh_var(f"{loop.var.name}_v", const(count))
    body = _Vector(scope, loop.var, mul(chunk, lanes), lanes).stmt(loop.body)
    kind = "unrolled" if count <= _INLINE_PIECES else "serial"
    return For(chunk, const(count), body, kind, annotations=loop.annotations)


@dataclass(slots=True)
class _Vector:
    """Statements of ``lanes`` consecutive values of ``var``, from ``base`` on."""

    scope: Scope
    var: Var
    base: Expr
    lanes: int
    seen: dict[Expr, Expr] = field(default_factory=dict[Expr, Expr])

    def stmt(self, stmt: Stmt) -> Stmt:
        match stmt:
            case Store():
                index = self.expr(stmt.indices[0])
                value = self.expr(stmt.value)
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
        found = self.seen.get(expr)
        if found is None:
            found = self.seen[expr] = self.make(expr) if mentions(expr, self.var) else expr
        return found

    def make(self, expr: Expr) -> Expr:
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
                return Load(expr.buffer, (self.wide(expr.indices[0]),))
            case _:
                raise CodegenError(f"{type(expr).__name__} cannot be vectorised")

    def wide(self, expr: Expr) -> Expr:
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
        if isinstance(expr, Binary):
            return Binary(expr.op, self.spread(expr.a, lane), self.spread(expr.b, lane))
        return map_expr(expr, lambda e: self.spread(e, lane))
