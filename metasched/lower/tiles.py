"""Pass 6: the spatial loops under a reduction become a register tile.

Where the places that a reduction accumulates into are few, the loops over them are moved inside
the reduction loops and written out, so that `registers` can keep every place in a variable of its
own for the whole reduction. A tile that is too large for the registers is cut: the rest of its
loops stay around the reduction. Each place sums its terms in the order it had. Read `unroll` next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from typing import Final

from metasched.ir.expr import Buffer, Expr, Var, add, const, int_value, mul
from metasched.ir.stmt import Alloc, For, Seq, Stmt, Store, seq
from metasched.ir.walk import expr_loads, loads, map_exprs, map_stmts, stores, substitute_stmt, walk
from metasched.lower.affine import accumulates, mentions
from metasched.lower.reductions import partial_reduction
from metasched.lower.scope import Scope
from metasched.lower.unroll import expand_loop

_SPARE_REGISTERS: Final = 3
"""Registers of a full tile that hold operands, not sums."""


def tile_registers(stmt: Stmt, scope: Scope) -> Stmt:
    """Write out the register tiles of all reductions and the nests that fill and empty them."""
    return _Tiles(scope).visit(stmt)


@dataclass(frozen=True, slots=True)
class _Nest:
    """Perfectly nested loops around stores."""

    loops: tuple[For, ...]
    stores: tuple[Store, ...]

    def is_spatial(self, loop: For) -> bool:
        """Whether the loop moves the place that is written."""
        return any(mentions(i, loop.var) for s in self.stores for i in s.indices)

    @property
    def spatial(self) -> tuple[For, ...]:
        return tuple(loop for loop in self.loops if self.is_spatial(loop))

    @property
    def reduces_outside(self) -> bool:
        """Whether all reduction loops are around the spatial ones."""
        count = len(self.loops) - len(self.spatial)
        return not any(self.is_spatial(loop) for loop in self.loops[:count])

    @property
    def places(self) -> int | None:
        """Places that one pass over the spatial loops writes, None where not constant."""
        extents = [int_value(loop.extent) for loop in self.spatial]
        known = [e for e in extents if e is not None]
        return prod(known) * len(self.stores) if len(known) == len(extents) else None


def _nest(stmt: Stmt) -> _Nest | None:
    loops: list[For] = []
    while isinstance(stmt, For) and stmt.kind in ("serial", "unrolled"):
        loops.append(stmt)
        stmt = stmt.body
    body = stmt.stmts if isinstance(stmt, Seq) else (stmt,)
    found = tuple(s for s in body if isinstance(s, Store))
    if len(found) != len(body) or any(
        mentions(inner.extent, outer.var) for inner in loops for outer in loops
    ):
        return None
    nest = _Nest(tuple(loops), found)
    return nest if _points_are_independent(nest) else None


def _points_are_independent(nest: _Nest) -> bool:
    """Whether each iteration reads what the nest writes only at the places it writes itself."""
    written = {s.buffer for s in nest.stores}
    own = {(s.buffer, s.indices) for s in nest.stores}
    return all(
        load.buffer not in written or (load.buffer, load.indices) in own
        for s in nest.stores
        for load in expr_loads(s.value)
    )


@dataclass(slots=True)
class _Tiles:
    scope: Scope
    summed: set[Buffer] = field(default_factory=set[Buffer])
    """Buffers that the tiles found so far accumulate into."""

    @property
    def limit(self) -> int:
        return max(4, self.scope.target.vector_registers - _SPARE_REGISTERS)

    def visit(self, stmt: Stmt) -> Stmt:
        match stmt:
            case For():
                tiled = self.tile(stmt)
                return map_stmts(stmt, self.visit) if tiled is None else tiled
            case Seq():
                return self.sequence(stmt)
            case _:
                return map_stmts(stmt, self.visit)

    def sequence(self, stmt: Seq) -> Stmt:
        """Tile the statements; a nest beside a tile that touches the same sums is written out."""
        before = set(self.summed)
        parts = [self.visit(s) for s in stmt.stmts]
        new = self.summed - before
        return seq(*(self.written_out(part, new) for part in parts)) if new else seq(*parts)

    def written_out(self, stmt: Stmt, summed: set[Buffer]) -> Stmt:
        nest = _nest(stmt)
        if nest is None or not nest.loops or nest.spatial != nest.loops:
            return stmt
        touched = {s.buffer for s in stores(stmt)} | {load.buffer for load in loads(stmt)}
        places = nest.places
        if places is None or places > 2 * self.limit or not touched & summed:
            return stmt
        return _expand_all(stmt, self.scope)

    def tile(self, loop: For) -> Stmt | None:
        """``loop`` with the tile inside written out, None where it carries no sums to keep."""
        sums = [s for s in stores(loop) if accumulates(s)]
        sums = [s for s in sums if not mentions(s.indices[0], loop.var)]
        if loop.kind != "serial" or not sums:
            return None
        nests = list(_sum_nests(loop, sums))
        places = [nest.places for nest in nests]
        if sum(len(nest.stores) for nest in nests) != len(sums) or None in places:
            return None
        if not _tiles_cover_sums(loop, nests):
            return None
        if sum(p or 0 for p in places) <= self.limit:
            self.summed |= {s.buffer for s in sums}
            return _rewrite_nests(loop, sums, lambda nest: _sink(nest, self.scope))
        whole = _nest(loop)
        if whole is None or not whole.reduces_outside:
            return None
        return self.cut(whole)

    def cut(self, nest: _Nest) -> Stmt | None:
        """Keep part of the spatial loops around the reduction, so that the rest fits."""
        factors = _factors(nest, self.limit)
        if factors is None:
            return None
        self.summed |= {s.buffer for s in nest.stores}
        outer: list[For] = []
        inner: list[For] = []
        values: dict[Var, Expr] = {}
        for loop, factor in zip(nest.spatial, factors, strict=True):
            extent = int_value(loop.extent) or 1
            if factor == extent:
                inner.append(loop)
                continue
            out = self.scope.fresh_var(f"{loop.var.name}_o", const(extent // factor))
            outer.append(For(out, const(extent // factor), loop.body))
            value: Expr = mul(out, factor)
            if factor > 1:
                within = self.scope.fresh_var(f"{loop.var.name}_i", const(factor))
                inner.append(For(within, const(factor), loop.body, loop.kind))
                value = add(value, within)
            values[loop.var] = value
        return self.rebuild(nest, outer, inner, values)

    def rebuild(
        self, nest: _Nest, outer: list[For], inner: list[For], values: Mapping[Var, Expr]
    ) -> Stmt:
        body = substitute_stmt(seq(*nest.stores), values)
        reducing = tuple(loop for loop in nest.loops if not nest.is_spatial(loop))
        shrunk = tuple(s for s in stores(body))
        simple = _canonical(_Nest((*reducing, *inner), shrunk), self.scope)
        result = _sink(simple, self.scope)
        for loop in reversed(outer):
            result = replace(loop, body=result)
        return result


def _canonical(nest: _Nest, scope: Scope) -> _Nest:
    shrunk = tuple(map_exprs(s, scope.simplify) for s in nest.stores)
    return _Nest(nest.loops, tuple(s for s in shrunk if isinstance(s, Store)))


def _factors(nest: _Nest, limit: int) -> tuple[int, ...] | None:
    """Divisors of the spatial extents whose tile fits and reuses its operands most."""
    extents = [int_value(loop.extent) or 1 for loop in nest.spatial]
    choices = [[d for d in range(1, min(e, limit) + 1) if e % d == 0] for e in extents]
    fitting = [f for f in product(*choices) if prod(f) * len(nest.stores) <= limit]
    return max(fitting, key=lambda f: (prod(f), -max(f), f)) if fitting else None


def _sink(nest: _Nest, scope: Scope) -> Stmt:
    """The reduction loops around the written-out spatial ones."""
    body: Stmt = seq(*nest.stores)
    for loop in reversed(nest.spatial):
        body = expand_loop(replace(loop, body=body), scope)
    reducing = [loop for loop in nest.loops if not nest.is_spatial(loop)]
    for number, loop in enumerate(reversed(reducing)):
        around = replace(loop, body=body)
        body = (partial_reduction(around, scope) if number == 0 else None) or around
    return body


def _expand_all(stmt: Stmt, scope: Scope) -> Stmt:
    if not isinstance(stmt, For):
        return stmt
    return expand_loop(replace(stmt, body=_expand_all(stmt.body, scope)), scope)


def _sum_nests(stmt: Stmt, sums: list[Store]) -> Iterator[_Nest]:
    """The outermost perfect nests that hold nothing but the given sums."""
    nest = _nest(stmt)
    if nest is not None and all(s in sums for s in nest.stores):
        yield nest
    elif isinstance(stmt, Seq | Alloc | For):
        children = stmt.stmts if isinstance(stmt, Seq) else (stmt.body,)
        for child in children:
            yield from _sum_nests(child, sums)


def _tiles_cover_sums(loop: For, nests: list[_Nest]) -> bool:
    """Whether no loop between ``loop`` and a nest moves the nest's places."""
    inside = {inner.var for nest in nests for inner in nest.loops}
    between = [n for n in walk(loop) if isinstance(n, For) and n.var not in inside]
    return not any(
        mentions(s.indices[0], outer.var)
        for outer in between
        for nest in nests
        for s in nest.stores
    )


def _rewrite_nests(stmt: Stmt, sums: list[Store], rewrite: Callable[[_Nest], Stmt]) -> Stmt:
    nest = _nest(stmt)
    if nest is not None and all(s in sums for s in nest.stores):
        return rewrite(nest)
    return map_stmts(stmt, lambda s: _rewrite_nests(s, sums, rewrite))
