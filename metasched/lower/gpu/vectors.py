"""Pass: vectorised loops become aligned vector loads and stores of up to 16 bytes.

A GPU has no vector arithmetic: lanes are computed one by one, but operands are fetched, and results
stored, a vector at a time. That needs addresses that are provably multiples of the vector; where
they are not, or a condition differs from lane to lane, the loop is unrolled instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from metasched.analysis.facts import terms
from metasched.ir.expr import (
    Binary,
    Broadcast,
    Buffer,
    Const,
    Expr,
    Load,
    Ramp,
    Select,
    Var,
    binary,
    const,
    int_value,
    mul,
    sub,
)
from metasched.ir.stmt import Alloc, For, If, Seq, Stmt, Store, seq
from metasched.ir.walk import loads, map_expr, map_stmts, stmt_exprs, stores, substitute, walk
from metasched.lower.affine import has_load, int_coefficient, mentions
from metasched.lower.gpu.kernel import PRIVATE
from metasched.lower.guards import conjuncts
from metasched.lower.lanes import Lanes
from metasched.lower.scope import Scope

VECTOR_BYTES: Final = 16
"""Bytes of the widest access."""


def vectorize(stmt: Stmt, scope: Scope) -> Stmt:
    """Replace vectorised loops by vector accesses, or unroll them."""
    if not isinstance(stmt, For):
        return map_stmts(stmt, lambda s: vectorize(s, scope))
    loop = replace(stmt, body=vectorize(stmt.body, scope))
    if loop.kind != "vectorized":
        return loop
    lanes = _lanes(loop, scope)
    if lanes == 1:
        return replace(loop, kind="unrolled")
    return _Vector(loop, lanes, scope).build()


def _lanes(loop: For, scope: Scope) -> int:
    """The widest vectors that all of a loop can be cut into, 1 where there are none."""
    extent = int_value(loop.extent)
    inside = list(walk(loop.body))
    if extent is None or any(isinstance(s, For | Alloc) for s in inside):
        return 1
    if any(e.dtype.lanes > 1 for s in inside for e in stmt_exprs(s)):
        return 1
    touched = [s.buffer for s in stores(loop)] + [x.buffer for x in loads(loop)]
    common = [b.dtype.bytes for b in touched if b.scope not in PRIVATE]
    if not common:
        return 1
    lanes = VECTOR_BYTES // max(common)
    while lanes > 1 and not _fits(loop, inside, lanes, extent, scope):
        lanes //= 2
    return max(lanes, 1)


def _fits(loop: For, inside: list[Stmt], lanes: int, extent: int, scope: Scope) -> bool:
    if extent % lanes:
        return False
    for stmt in inside:
        match stmt:
            case If():
                uniform = all(_uniform(c, loop.var, lanes, scope) for c in conjuncts(stmt.cond))
                if not uniform or stmt.other is not None:
                    return False
            case Store():
                if int_coefficient(stmt.indices[0], loop.var) != 1:
                    return False
            case _:
                pass
    return any(b.scope not in PRIVATE and _aligned(i, loop.var, lanes) for b, i in _places(inside))


def _places(stmts: Iterable[Stmt]) -> Iterable[tuple[Buffer, Expr]]:
    for stmt in stmts:
        if isinstance(stmt, Store):
            yield stmt.buffer, stmt.indices[0]
            yield from ((x.buffer, x.indices[0]) for x in loads(stmt))


def _aligned(index: Expr, var: Var, lanes: int) -> bool:
    """Whether an index walks through whole vectors."""
    if has_load(index) or int_coefficient(index, var) != 1:
        return False
    return is_multiple(substitute(index, {var: const(0)}), lanes)


def is_multiple(index: Expr, lanes: int) -> bool:
    """Whether an index is provably a multiple of a number of lanes."""
    return all(coefficient % lanes == 0 for coefficient, _ in terms(index))


def _uniform(condition: Expr, var: Var, lanes: int, scope: Scope) -> bool:
    """Whether a condition holds for all lanes of a vector or for none."""
    if not mentions(condition, var):
        return True
    if not isinstance(condition, Binary) or condition.op not in ("lt", "le") or has_load(condition):
        return False
    excess = scope.simplify(sub(condition.a, condition.b))
    step = int_coefficient(excess, var)
    rest = scope.simplify(substitute(excess, {var: const(0)}))
    slack = 1 if condition.op == "le" else 0
    constant = sum(c for c, atoms in terms(rest) if not atoms) - slack
    moving = all(c % lanes == 0 for c, atoms in terms(rest) if atoms)
    # With M a multiple of the lanes: M + c + v < 0 for one v below the lanes exactly if for all
    # where c is a multiple, too; M + c - v < 0 likewise where c + 1 is one.
    if step == 1:
        return moving and constant % lanes == 0
    return step == -1 and moving and (constant - (lanes - 1)) % lanes == 0


@dataclass(frozen=True, slots=True)
class _Vector:
    loop: For
    lanes: int
    scope: Scope

    def build(self) -> Stmt:
        extent = int_value(self.loop.extent)
        assert extent is not None
        if extent == self.lanes:
            return self.at(const(0))
        pieces = const(extent // self.lanes)
        piece = self.scope.fresh_var(f"{self.loop.var.name}_v", pieces)
        body = self.at(mul(piece, self.lanes))
        return For(piece, pieces, body, "unrolled", annotations=self.loop.annotations)

    def at(self, base: Expr) -> Stmt:
        lanes = Lanes(self.scope, self.loop.var, base, self.lanes)
        return self.stmt(self.loop.body, base, lanes)

    def stmt(self, stmt: Stmt, base: Expr, lanes: Lanes) -> Stmt:
        match stmt:
            case If():
                cond = self.scope.simplify(substitute(stmt.cond, {self.loop.var: base}))
                return If(cond, self.stmt(stmt.then, base, lanes))
            case Seq():
                return seq(*(self.stmt(s, base, lanes) for s in stmt.stmts))
            case Store():
                value = self.even_choices(stmt.value, base)
                store = lanes.stmt(Store(stmt.buffer, stmt.indices, value))
                assert isinstance(store, Store)
                return self.fetched(store)
            case _:
                return stmt

    def even_choices(self, expr: Expr, base: Expr) -> Expr:
        """Choices that all lanes make alike, made once."""
        expr = map_expr(expr, lambda e: self.even_choices(e, base))
        if isinstance(expr, Select) and mentions(expr.cond, self.loop.var):
            parts = conjuncts(expr.cond)
            if all(_uniform(c, self.loop.var, self.lanes, self.scope) for c in parts):
                cond = self.scope.simplify(substitute(expr.cond, {self.loop.var: base}))
                return Select(cond, expr.then, expr.other)
        return expr

    def fetched(self, store: Store) -> Stmt:
        """The store with its operands loaded first, a vector each."""
        names: dict[Expr, Buffer] = {}
        value = self.named(store.value, names)
        fetches: list[Stmt] = [Store(name, (), load) for load, name in names.items()]
        result = seq(*fetches, Store(store.buffer, store.indices, value))
        for name in reversed(tuple(names.values())):
            result = Alloc(name, result)
        return result

    def named(self, expr: Expr, names: dict[Expr, Buffer]) -> Expr:
        if is_fetch(expr):
            if expr not in names:
                names[expr] = self.scope.fresh_register(_source(expr), expr.dtype)
            return Load(names[expr], ())
        if isinstance(expr, Select):
            # A load in an arm is out of bounds where the arm is not chosen.
            return expr
        if isinstance(expr, Binary) and expr.op in ("and", "or"):
            return binary(expr.op, self.named(expr.a, names), expr.b)
        return map_expr(expr, lambda e: self.named(e, names))


def is_fetch(expr: Expr) -> bool:
    """Whether a vector comes from memory as one, or not at all where a condition fails."""
    match expr:
        case Load(indices=(Ramp() as index,)):
            if expr.buffer.scope in PRIVATE or int_value(index.stride) != 1:
                return False
            return not has_load(index.base) and is_multiple(index.base, index.lanes)
        case Select() if expr.cond.dtype.lanes == 1 and not has_load(expr.cond):
            arms = (expr.then, expr.other)
            plain = (is_fetch(a) or _is_constant(a) for a in arms)
            return expr.dtype.lanes > 1 and all(plain) and any(is_fetch(a) for a in arms)
        case _:
            return False


def _is_constant(expr: Expr) -> bool:
    return isinstance(expr, Broadcast) and type(expr.value) is Const


def _source(expr: Expr) -> str:
    load = next(iter(loads(Store(Buffer("", (), expr.dtype.scalar), (), expr))))
    return f"{load.buffer.name}_v"
