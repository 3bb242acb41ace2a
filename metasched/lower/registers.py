"""Pass 8: places in memory that stay the same through a loop become named variables.

Each place gets a variable of its own (compilers keep an array of accumulators in memory): it is
loaded before the loop, or starts from the constant just stored there, and stored after it. Local
buffers whose every index is a constant become variables outright. Read `reuse` next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

from metasched.ir.dtype import DType
from metasched.ir.expr import Broadcast, Buffer, Const, Expr, Load, Ramp, Select, Var, int_value
from metasched.ir.stmt import Alloc, For, If, Seq, Stmt, Store, seq
from metasched.ir.walk import (
    child_stmts,
    expr_children,
    expr_loads,
    map_expr,
    map_stmts,
    stmt_exprs,
    stores,
    walk,
)
from metasched.lower.affine import has_load, split_offset, variables
from metasched.lower.scope import Scope

Place: TypeAlias = tuple[Buffer, Expr]
"""A buffer and a flat index: a scalar, or a ramp of step 1."""


def promote_registers(stmt: Stmt, scope: Scope) -> Stmt:
    """Keep loop-invariant places in variables, outermost loops first."""
    return _Promotion(scope).visit(stmt)


@dataclass(frozen=True, slots=True)
class _Promotion:
    scope: Scope

    @property
    def limit(self) -> int:
        """Most variables that one loop may hold."""
        return 2 * self.scope.target.vector_registers

    def visit(self, stmt: Stmt) -> Stmt:
        match stmt:
            case Alloc() if stmt.buffer.scope != "register":
                places = _constant_places(stmt)
                if places is None or len(places) > self.limit:
                    return map_stmts(stmt, self.visit)
                names = self.name(places)
                return self.visit(_declared(names, _rename(stmt.body, names)))
            case Seq():
                return self.sequence(stmt)
            case For() if stmt.kind != "parallel":
                return self.sequence(Seq((stmt,)))
            case _:
                return map_stmts(stmt, self.visit)

    def sequence(self, stmt: Seq) -> Stmt:
        done: list[Stmt] = []
        for part in stmt.stmts:
            places = self.promotable(part) if isinstance(part, For) else []
            if places:
                done.append(self.promote(part, places, done))
            else:
                done.append(
                    map_stmts(part, self.visit) if isinstance(part, For) else self.visit(part)
                )
        return seq(*done)

    def promotable(self, loop: For) -> list[Place]:
        if loop.kind == "parallel":
            return []
        places = [p for group in _invariant_groups(loop) for p in group]
        return places if len(places) <= self.limit else []

    def promote(self, loop: Stmt, places: list[Place], before: list[Stmt]) -> Stmt:
        """The loop on variables; initial constants are taken out of ``before``."""
        names = self.name(places)
        first: list[Stmt] = []
        for (buffer, index), name in names.items():
            start = _take_constant(before, buffer, index)
            first.append(Store(name, (), Load(buffer, (index,)) if start is None else start))
        last = [Store(b, (i,), Load(name, ())) for (b, i), name in names.items()]
        body = self.visit(_rename(loop, names))
        return _declared(names, seq(*first, body, *last))

    def name(self, places: list[Place]) -> dict[Place, Buffer]:
        return {
            (b, i): self.scope.fresh_register(f"{b.name}_r{n}", _value_dtype(b, i))
            for n, (b, i) in enumerate(places)
        }


def _value_dtype(buffer: Buffer, index: Expr) -> DType:
    return buffer.dtype.with_lanes(index.dtype.lanes)


def _declared(names: Mapping[Place, Buffer], body: Stmt) -> Stmt:
    for name in reversed(tuple(names.values())):
        body = Alloc(name, body)
    return body


def _rename(stmt: Stmt, names: Mapping[Place, Buffer]) -> Stmt:
    """``stmt`` with places replaced by variables."""
    buffers = {b for b, _ in names}
    memo: dict[Expr, Expr] = {}

    def in_expr(expr: Expr) -> Expr:
        found = memo.get(expr)
        if found is None:
            if type(expr) is Load and expr.buffer in buffers:
                found = Load(names[expr.buffer, expr.indices[0]], ())
            else:
                found = map_expr(expr, in_expr)
            memo[expr] = found
        return found

    def in_stmt(node: Stmt) -> Stmt:
        match node:
            case Store() if node.buffer in buffers:
                return Store(names[node.buffer, node.indices[0]], (), in_expr(node.value))
            case Store():
                return Store(node.buffer, tuple(map(in_expr, node.indices)), in_expr(node.value))
            case If():
                other = None if node.other is None else in_stmt(node.other)
                return If(in_expr(node.cond), in_stmt(node.then), other)
            case _:
                return map_stmts(node, in_stmt)

    return in_stmt(stmt)


@dataclass(slots=True)
class _Use:
    """How a loop uses one buffer."""

    indices: dict[Expr, None] = field(default_factory=dict[Expr, None])
    stored: bool = False
    fixed: bool = True
    """Every index is unconditional and the same in all iterations."""


def _invariant_groups(loop: For) -> Iterator[list[Place]]:
    """For each buffer that the loop updates in places that it does not move, the places."""
    bound = {loop.var}
    private: set[Buffer] = set()
    for node in walk(loop.body):
        if isinstance(node, For):
            bound.add(node.var)
        elif isinstance(node, Alloc):
            private.add(node.buffer)
    held = _held_buffers(loop, bound)
    if not held:
        return
    uses: dict[Buffer, _Use] = {}
    for buffer, index, stored, conditional in _accesses(loop.body):
        if buffer not in held:
            continue
        use = uses.setdefault(buffer, _Use())
        use.stored |= stored
        if use.fixed:
            if index not in use.indices:
                use.indices[index] = None
                use.fixed = bound.isdisjoint(variables(index))
            use.fixed &= not conditional
    for buffer, use in uses.items():
        if buffer not in private and use.stored and use.fixed and _are_apart(list(use.indices)):
            yield [(buffer, index) for index in use.indices]


def _held_buffers(loop: For, bound: set[Var]) -> set[Buffer]:
    """Buffers that the loop stores to, only in places that it does not move."""
    held: dict[Buffer, bool] = {}
    for store in stores(loop):
        if store.buffer.scope != "register" and held.get(store.buffer, True):
            held[store.buffer] = bound.isdisjoint(variables(store.indices[0]))
    return {buffer for buffer, fixed in held.items() if fixed}


def _accesses(stmt: Stmt, conditional: bool = False) -> Iterator[tuple[Buffer, Expr, bool, bool]]:
    """Every access as (buffer, index, is it a store, is it conditional); registers left out."""
    if isinstance(stmt, Store) and stmt.buffer.scope != "register":
        yield stmt.buffer, stmt.indices[0], True, conditional
    for expr in stmt_exprs(stmt):
        yield from _loaded(expr, conditional)
    inner = conditional or isinstance(stmt, If)
    for child in child_stmts(stmt):
        yield from _accesses(child, inner)


def _loaded(expr: Expr, conditional: bool) -> Iterator[tuple[Buffer, Expr, bool, bool]]:
    stack = [(expr, conditional)]
    while stack:
        node, inner = stack.pop()
        if type(node) is Load:
            if node.buffer.scope == "register":
                continue
            yield node.buffer, node.indices[0], False, inner
            if not has_load(node.indices[0]):
                continue
        inner |= type(node) is Select
        stack.extend((child, inner) for child in expr_children(node))


def _are_apart(indices: list[Expr]) -> bool:
    """Whether places are disjoint: one base and constant offsets further apart than the lanes."""
    spans: list[tuple[int, int]] = []
    base: Expr | None = None
    for number, index in enumerate(indices):
        lanes = 1
        if isinstance(index, Ramp):
            if int_value(index.stride) != 1:
                return False
            index, lanes = index.base, index.lanes
        elif index.dtype.lanes > 1:
            return False
        root, offset = split_offset(index)
        if number and root != base:
            return False
        base = root
        spans.append((offset, lanes))
    spans.sort()
    return all(a + lanes <= b for (a, lanes), (b, _) in pairwise(spans))


def _constant_places(alloc: Alloc) -> list[Place] | None:
    """The places of a private buffer, None where one is not constant or two overlap."""
    if any(isinstance(n, For) and n.kind == "parallel" for n in walk(alloc.body)):
        return None
    indices: dict[Expr, None] = {}
    for buffer, index, _, _ in _accesses(alloc.body):
        if buffer == alloc.buffer:
            base = index.base if isinstance(index, Ramp) else index
            if type(base) is not Const:
                return None
            indices[index] = None
    return [(alloc.buffer, i) for i in indices] if _are_apart(list(indices)) else None


def _take_constant(before: list[Stmt], buffer: Buffer, index: Expr) -> Expr | None:
    """Remove the constant that was just stored at a place, if any, and return it."""
    for number in range(len(before) - 1, -1, -1):
        stmt = before[number]
        if not isinstance(stmt, Store):
            return None
        if stmt.buffer == buffer and stmt.indices == (index,):
            if not _is_constant(stmt.value):
                return None
            del before[number]
            return stmt.value
        if any(load.buffer == buffer for load in expr_loads(stmt.value)):
            return None
    return None


def _is_constant(expr: Expr) -> bool:
    return type(expr) is Const or (isinstance(expr, Broadcast) and type(expr.value) is Const)
