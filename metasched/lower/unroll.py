"""Pass 7: loops written out, as the schedule asks for.

`expand` copies a body for each value of a loop variable; flat indices are linear, so a copy's
address is the first one's plus a constant. Read `registers` next.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from metasched.ir.expr import Buffer, Call, Const, Expr, Load, Ramp, Var, const, int_value
from metasched.ir.stmt import Alloc, For, If, Stmt, Store, annotation, seq
from metasched.ir.walk import map_expr, map_stmts, replace_buffers, substitute, walk, walk_expr
from metasched.lower.affine import has_load, int_coefficient, mentions, with_offset
from metasched.lower.scope import Scope

MAX_STATEMENTS: Final = 512
"""Statements beyond which a loop stays rolled whatever the schedule asks."""

MAX_IMPLIED_STATEMENTS: Final = 128
"""The same for loops that a schedule only bounds by a number of steps: longer runs gain nothing."""

_INTRINSIC_SIZE: Final = 12

MAX_REDUCTION_STEPS: Final = 8
"""Longer unrolled reductions only cost compile time and instruction cache."""


def unroll(stmt: Stmt, scope: Scope, limit: int = 0) -> Stmt:
    """Write out unrolled loops, and innermost nests within ``pragma_auto_unroll_max_step``."""
    if not isinstance(stmt, For):
        return map_stmts(stmt, lambda s: unroll(s, scope, limit))
    asked = annotation(stmt.annotations, "pragma_auto_unroll_max_step")
    limit = asked if isinstance(asked, int) else limit
    body = unroll(stmt.body, scope, limit)
    loop = stmt if body is stmt.body else replace(stmt, body=body)
    return expand_loop(loop, scope) if _should_unroll(loop, limit) else loop


def _should_unroll(loop: For, limit: int) -> bool:
    extent = int_value(loop.extent)
    if extent is None or loop.kind not in ("serial", "unrolled"):
        return False
    size = count_statements(loop.body)
    if loop.kind == "unrolled":
        return extent * size <= MAX_STATEMENTS
    if extent * size > min(limit, MAX_IMPLIED_STATEMENTS):
        return False
    if any(isinstance(node, For) for node in walk(loop.body)):
        return False
    return extent <= MAX_REDUCTION_STEPS or not is_reduction(loop)


def is_reduction(loop: For) -> bool:
    """Whether some store under the loop writes the same place in every iteration."""
    return any(
        isinstance(node, Store) and not any(mentions(i, loop.var) for i in node.indices)
        for node in walk(loop.body)
    )


def count_statements(stmt: Stmt) -> int:
    """Stores and branches under a statement, as a measure of code size.

    A gathered vector counts once per lane, and an intrinsic as the polynomial that it becomes:
    written out many times, both cost compile time out of proportion.
    """
    total = 0
    for node in walk(stmt):
        if isinstance(node, Store):
            total += 1 + sum(_extra_size(e) for e in walk_expr(node.value))
        elif isinstance(node, If):
            total += 1
    return total


def _extra_size(expr: Expr) -> int:
    if isinstance(expr, Call):
        return _INTRINSIC_SIZE
    if isinstance(expr, Load) and expr.indices and isinstance(index := expr.indices[0], Ramp):
        return index.lanes if int_value(index.stride) != 1 else 0
    return 0


def expand_loop(loop: For, scope: Scope) -> Stmt:
    """The iterations of a loop of constant extent, one after the other."""
    extent = int_value(loop.extent)
    assert extent is not None
    return seq(*expand(loop.body, loop.var, extent, scope))


def expand(stmt: Stmt, var: Var, extent: int, scope: Scope) -> list[Stmt]:
    """Copies of a statement for ``var`` = 0, 1, ... ``extent - 1``."""
    template = _Template(var, scope)
    return [template.stmt(stmt, value) for value in range(extent)]


@dataclass(slots=True)
class _Template:
    var: Var
    scope: Scope
    linear: dict[Expr, tuple[Expr, int] | None] = field(
        default_factory=dict[Expr, "tuple[Expr, int] | None"]
    )
    """Indices as (value at 0, step), None where not linear."""

    def stmt(self, stmt: Stmt, value: int) -> Stmt:
        match stmt:
            case Store():
                indices = tuple(self.index(i, value) for i in stmt.indices)
                return Store(stmt.buffer, indices, self.expr(stmt.value, value))
            case For():
                extent, body = self.expr(stmt.extent, value), self.stmt(stmt.body, value)
                return replace(stmt, extent=extent, body=body)
            case If():
                other = None if stmt.other is None else self.stmt(stmt.other, value)
                return If(self.expr(stmt.cond, value), self.stmt(stmt.then, value), other)
            case Alloc(buffer=Buffer(scope="register")) if value:
                # Registers are declared where they are first set, so copies need their own.
                own = self.scope.fresh_register(stmt.buffer.name, stmt.buffer.dtype)
                body = replace_buffers(stmt.body, {stmt.buffer: own})
                return Alloc(own, self.stmt(body, value))
            case _:
                return map_stmts(stmt, lambda s: self.stmt(s, value))

    def expr(self, expr: Expr, value: int) -> Expr:
        if type(expr) is Load:
            return Load(expr.buffer, tuple(self.index(i, value) for i in expr.indices))
        if type(expr) is Var or type(expr) is Const:
            return const(value, expr.dtype) if expr == self.var else expr
        if (expr.dtype.is_int and not has_load(expr)) or expr.dtype.code == "bool":
            return self.index(expr, value) if mentions(expr, self.var) else expr
        return map_expr(expr, lambda e: self.expr(e, value))

    def index(self, index: Expr, value: int) -> Expr:
        if isinstance(index, Ramp):
            return Ramp(self.index(index.base, value), index.stride, index.lanes)
        if index not in self.linear:
            self.linear[index] = self.split(index)
        found = self.linear[index]
        if found is not None:
            return with_offset(found[0], found[1] * value)
        return self.scope.simplify(substitute(index, {self.var: const(value)}))

    def split(self, index: Expr) -> tuple[Expr, int] | None:
        step = int_coefficient(index, self.var) if index.dtype.is_int else None
        if step is None:
            return None
        return self.scope.simplify(substitute(index, {self.var: const(0)})), step
