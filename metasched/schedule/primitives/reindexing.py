"""Caches laid out in a block's own iterations: what the reindex primitives share.

The block has one place where it accesses the buffer; a place in the cache stands for it. A copy
runs through the iterations that the two places depend on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from metasched.analysis.access import with_regions
from metasched.analysis.facts import Facts
from metasched.ir.expr import Buffer, Expr, Load, Var
from metasched.ir.stmt import Block, For, IterVar, Stmt, Store
from metasched.ir.walk import (
    free_vars,
    loads,
    map_expr,
    map_exprs,
    map_stmts,
    stores,
    substitute,
    walk,
)
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.primitives.staging import Copy, Staging, conditional
from metasched.schedule.state import State


@dataclass(frozen=True, slots=True)
class Reindexing:
    """Where a block accesses a buffer, and the place in a cache that stands for it.

    Args:
        block: the block.
        buffer: the buffer.
        indices: where the block accesses it.
        iters: the iterations that a copy runs through.
        cache: the cache.
        place: the indices in the cache, over the iterations.
    """

    block: Block
    buffer: Buffer
    indices: tuple[Expr, ...]
    iters: tuple[IterVar, ...]
    cache: Buffer
    place: tuple[Expr, ...]

    def reading(self, state: State, scope: Block) -> State:
        """The block reads the cache, which a copy in front of its nest fills."""
        old, new = self._at(self.indices), self._at(self.place)
        copy = Copy(self.cache.name, self._extents(), self.cache, new, self.buffer, old)
        return Staging(
            self.block, self._changed(), self.cache, before=copy.nest(state)
        ).applied(state, scope)  # fmt: skip

    def writing(self, state: State, scope: Block) -> State:
        """The block writes the cache, and a copy behind its nest writes the buffer."""
        old, new = self._at(self.indices), self._at(self.place)
        copy = Copy(self.cache.name, self._extents(), self.buffer, old, self.cache, new)
        return Staging(
            self.block, self._changed(), self.cache, behind=copy.nest(state)
        ).applied(state, scope)  # fmt: skip

    def _extents(self) -> tuple[Expr, ...]:
        return tuple(it.extent for it in self.iters)

    def _at(self, place: tuple[Expr, ...]) -> Callable[[Sequence[Var]], list[Expr]]:
        """A place in terms of the iterations of the copy."""

        def at(own: Sequence[Var]) -> list[Expr]:
            values = {it.var: var for it, var in zip(self.iters, own, strict=True)}
            return [substitute(i, values) for i in place]

        return at

    def _changed(self) -> Block:
        """The block with the cache in place of the buffer."""

        def in_expr(expr: Expr) -> Expr:
            mapped = map_expr(expr, in_expr)
            if isinstance(mapped, Load) and mapped.buffer == self.buffer:
                return Load(self.cache, self.place)
            return mapped

        def in_stmt(stmt: Stmt) -> Stmt:
            if isinstance(stmt, Store) and stmt.buffer == self.buffer:
                return Store(self.cache, self.place, stmt.value)
            return map_stmts(stmt, in_stmt)

        body = in_stmt(map_exprs(self.block.body, in_expr))
        init = self.block.init and in_stmt(map_exprs(self.block.init, in_expr))
        return with_regions(replace(self.block, body=body, init=init))


def one_place(block: Block, buffer: Buffer) -> tuple[Expr, ...] | Refusal:
    """The indices of the only place where a block accesses a buffer."""
    inside = [s for s in walk(block.body) if isinstance(s, For | Block)]
    if inside:
        kind = "loop" if isinstance(inside[0], For) else "block"
        name = inside[0].var.name if isinstance(inside[0], For) else inside[0].name
        return Refusal("a block without loops or blocks inside", f"{kind} '{name}'", block.name)
    places = {
        access.indices
        for part in (block.body, block.init)
        if part is not None
        for access in (*loads(part), *stores(part))
        if access.buffer == buffer
    }
    if len(places) != 1:
        given = f"{len(places)} places of '{buffer.name}'"
        return Refusal("a buffer that the block accesses at one place", given, block.name)
    return places.pop()


def used_iters(block: Block, *exprs: Expr) -> tuple[IterVar, ...]:
    """The iterations of a block that some expressions depend on, in the block's order."""
    used = set[Var]().union(*(free_vars(e) for e in exprs))
    return tuple(it for it in block.iters if it.var in used)


def check_once(
    state: State, block: Block, buffer: Buffer, indices: Sequence[Expr]
) -> Refusal | None:
    """Why a block may leave elements out or write them in several iterations, or None."""
    used = {it.var: it.extent for it in used_iters(block, *indices)}
    if conditional(state, block) or not Facts(used).is_one_to_one(indices, used):
        given = f"'{buffer.name}' written at {', '.join(map(str, indices))}"
        rule = "a block that writes one element in each of its iterations"
        return Refusal(rule, given, block.name)
    return None
