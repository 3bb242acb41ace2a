"""Pass 4: the conditions of partial tiles leave the inner loops.

A condition that does not depend on a loop moves out of it, and one that bounds a serial loop
becomes the loop's extent. What is left is tested once for each register tile: a full tile runs
without any condition, a partial one runs rolled, with shortened loops. Read `vectorize` next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from metasched.ir.expr import (
    FALSE,
    TRUE,
    Binary,
    Expr,
    Var,
    all_of,
    const,
    floordiv,
    int_value,
    less,
    less_equal,
    minimum,
    sub,
)
from metasched.ir.stmt import For, If, Seq, Stmt
from metasched.ir.walk import child_stmts, map_stmts, stores, substitute, walk
from metasched.lower.affine import int_coefficient, mentions, split_offset
from metasched.lower.scope import Scope


def hoist_guards(stmt: Stmt, scope: Scope) -> Stmt:
    """Free the inner loops of conditions."""
    if not _guards(stmt):
        return stmt
    guards = _Guards(scope)
    return guards.split_tiles(guards.hoist(stmt))


def conjuncts(condition: Expr) -> Iterator[Expr]:
    """The terms of a conjunction."""
    if isinstance(condition, Binary) and condition.op == "and":
        yield from conjuncts(condition.a)
        yield from conjuncts(condition.b)
    elif condition != TRUE:
        yield condition


def _guarded(conditions: list[Expr], body: Stmt) -> Stmt:
    return If(all_of(conditions), body) if conditions else body


def _guards(stmt: Stmt) -> list[Expr]:
    """The terms of all conditions without an else branch, each once."""
    found: dict[Expr, None] = {}
    for node in walk(stmt):
        if isinstance(node, If) and node.other is None:
            found.update(dict.fromkeys(conjuncts(node.cond)))
    return list(found)


def _around_all(stmt: Stmt) -> set[Expr]:
    """The terms of conditions that each part of a statement stands under."""
    if isinstance(stmt, If) and stmt.other is None:
        return {*conjuncts(stmt.cond), *_around_all(stmt.then)}
    parts = [_around_all(child) for child in child_stmts(stmt)]
    return set[Expr].intersection(*parts) if parts else set()


def _loop_vars(stmt: Stmt) -> dict[Var, Expr]:
    return {node.var: node.extent for node in walk(stmt) if isinstance(node, For)}


def _reduces(loop: For) -> bool:
    """Whether the loop moves no place that is written under it."""
    return not any(mentions(i, loop.var) for s in stores(loop) for i in s.indices)


@dataclass(frozen=True, slots=True)
class _Guards:
    scope: Scope

    # -- conditions leave loops ----------------------------------------------------------------

    def hoist(self, stmt: Stmt, *, shorten_all: bool = False) -> Stmt:
        """Move conditions out of loops; ``shorten_all`` lets them bound spatial loops too."""
        stmt = map_stmts(stmt, lambda s: self.hoist(s, shorten_all=shorten_all))
        if isinstance(stmt, If) and stmt.other is None:
            return self.merge(stmt)
        if not isinstance(stmt, For) or not isinstance(stmt.body, If) or stmt.body.other:
            return stmt
        outside: list[Expr] = []
        inside: list[Expr] = []
        loop = replace(stmt, body=stmt.body.then)
        for condition in conjuncts(stmt.body.cond):
            if not mentions(condition, stmt.var):
                outside.append(condition)
                continue
            extent = self.shortened(loop, condition)
            if extent is not None and int_value(extent) is not None:
                loop = replace(loop, extent=extent)
            elif extent is not None and (shorten_all or (stmt.kind == "serial" and _reduces(stmt))):
                kind = "parallel" if stmt.kind == "parallel" else "serial"
                loop = replace(loop, extent=extent, kind=kind)
            else:
                inside.append(condition)
        return _guarded(outside, replace(loop, body=_guarded(inside, loop.body)))

    def merge(self, stmt: If) -> Stmt:
        """Drop true terms; join directly nested conditions."""
        terms = list(conjuncts(self.scope.simplify(stmt.cond)))
        then = stmt.then
        if isinstance(then, If) and then.other is None:
            terms += [c for c in conjuncts(then.cond) if c not in terms]
            then = then.then
        return _guarded(terms, then)

    def shortened(self, loop: For, condition: Expr) -> Expr | None:
        """The extent that implies an upper bound on the loop, None for other conditions."""
        if not isinstance(condition, Binary) or condition.op not in ("lt", "le"):
            return None
        simplify = self.scope.simplify
        excess = simplify(sub(condition.a, condition.b))
        step = int_coefficient(excess, loop.var)
        if step is None or step <= 0:
            return None
        room = simplify(sub(0, substitute(excess, {loop.var: const(0)})))
        steps = floordiv(room + (step - 1 if condition.op == "lt" else step), step)
        return simplify(minimum(steps, loop.extent))

    # -- full and partial tiles ----------------------------------------------------------------

    def split_tiles(self, stmt: Stmt) -> Stmt:
        """Give each guarded register tile a version without conditions."""
        if not _guards(stmt):
            return stmt
        if self.is_tile(stmt):
            return self.versions(stmt)
        stmt = map_stmts(stmt, self.split_tiles)
        if isinstance(stmt, For) and stmt.kind in ("serial", "parallel"):
            return self.shorten(stmt)
        return stmt

    def shorten(self, loop: For) -> Stmt:
        """Bound an outer loop by the conditions directly under it."""
        if not isinstance(loop.body, If) or loop.body.other:
            return loop
        terms = list(conjuncts(loop.body.cond))
        outside = [c for c in terms if not mentions(c, loop.var)]
        kept: list[Expr] = []
        for condition in terms:
            if condition in outside:
                continue
            extent = self.shortened(loop, condition)
            if extent is None:
                kept.append(condition)
            else:
                loop = replace(loop, extent=extent)
        assert isinstance(loop.body, If)
        return _guarded(outside, replace(loop, body=_guarded(kept, loop.body.then)))

    def is_tile(self, stmt: Stmt) -> bool:
        """Whether a statement is a reduction over few places, or one vectorised loop."""
        if isinstance(stmt, Seq):
            reduction = any(isinstance(s, For) and _is_sum(s) for s in stmt.stmts)
        elif isinstance(stmt, For):
            reduction = _is_sum(stmt)
            if stmt.kind in ("vectorized", "unrolled"):
                return int_value(stmt.extent) is not None
        else:
            return False
        return reduction and self.is_small(stmt)

    def is_small(self, stmt: Stmt) -> bool:
        """Whether the loops that move places are constant and few enough for registers."""
        width = self.scope.target.vector_registers * self.scope.target.vector_bits // 32
        places = _places(stmt)
        return places is not None and places <= 2 * width

    def versions(self, stmt: Stmt) -> Stmt:
        """A test for the whole tile, the tile without conditions, and the partial one."""
        inner, everywhere = _loop_vars(stmt), _around_all(stmt)
        full: list[Expr] = []
        needed: list[Expr] = []
        dropped: set[Expr] = set()
        for condition in _guards(stmt):
            worst = self.extreme(condition, inner, largest=True)
            best = self.extreme(condition, inner, largest=False)
            if worst is None or best is None:
                continue
            dropped.add(condition)
            full += [] if worst in full else [worst]
            needed += [] if best in needed or condition not in everywhere else [best]
        needed_terms = list(conjuncts(self.scope.simplify(all_of(needed))))
        partial = self.hoist(stmt, shorten_all=True)
        test = self.scope.simplify(all_of(full))
        if not full or test == FALSE:
            return partial
        whole = _without(stmt, dropped)
        return _guarded(needed_terms, If(test, whole, partial))

    def extreme(self, condition: Expr, inner: dict[Var, Expr], *, largest: bool) -> Expr | None:
        """A comparison with the inner variables where it is hardest (or easiest) to meet."""
        if not isinstance(condition, Binary) or condition.op not in ("lt", "le"):
            return None
        excess = self.scope.simplify(sub(condition.a, condition.b))
        values: dict[Var, Expr] = {}
        for var, extent in inner.items():
            if not mentions(excess, var):
                continue
            step = int_coefficient(excess, var)
            if step is None:
                return None
            values[var] = extent - 1 if (step > 0) is largest else const(0)
        build = less if condition.op == "lt" else less_equal
        base, offset = split_offset(self.scope.simplify(substitute(excess, values)))
        return build(0 if base is None else base, -offset)


def _is_sum(loop: For) -> bool:
    return loop.kind == "serial" and _reduces(loop)


def _places(stmt: Stmt) -> int | None:
    """Most places that one nest of a statement writes, None where not constant."""
    if isinstance(stmt, For):
        inner = _places(stmt.body)
        extent = 1 if _reduces(stmt) else int_value(stmt.extent)
        if inner is None or extent is None or stmt.kind == "parallel":
            return None
        return inner * extent
    counts = [_places(child) for child in child_stmts(stmt)]
    known = [c for c in counts if c is not None]
    return max(known, default=1) if len(known) == len(counts) else None


def _without(stmt: Stmt, dropped: set[Expr]) -> Stmt:
    if isinstance(stmt, If) and stmt.other is None:
        kept = [c for c in conjuncts(stmt.cond) if c not in dropped]
        return _guarded(kept, _without(stmt.then, dropped))
    return map_stmts(stmt, lambda s: _without(s, dropped))
