"""Caches laid out in a block's own iterations: what the reindex primitives share.

The block has one place where it accesses the buffer; a place in the cache stands for it. A copy
runs through the iterations that the two places depend on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from metasched.analysis.access import why_not_elementwise, with_regions
from metasched.analysis.facts import Facts
from metasched.errors import UsageError
from metasched.ir.expr import Buffer, Expr, Load, Var
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, For, IterVar, Stmt, Store
from metasched.ir.walk import (
    expr_loads,
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
from metasched.schedule.primitives.plain_nest import read_map
from metasched.schedule.primitives.staging import Copy, Staging, cache_of, conditional
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
            self.block, self._changed(), self.cache, before=copy.nest(state, self.block)
        ).applied(state, scope)  # fmt: skip

    def writing(self, state: State, scope: Block) -> State:
        """The block writes the cache, and a copy behind its nest writes the buffer."""
        old, new = self._at(self.indices), self._at(self.place)
        copy = Copy(self.cache.name, self._extents(), self.buffer, old, self.cache, new)
        return Staging(
            self.block, self._changed(), self.cache, behind=copy.nest(state, self.block)
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


def mapped(
    state: State,
    block: Block,
    buffer: Buffer,
    indices: tuple[Expr, ...],
    storage_scope: str,
    index_map: str | tuple[int, ...],
) -> Reindexing | Refusal:
    """A cache of what a block accesses at some indices, laid out by an index map.

    A copy runs through the iterations in the order of the block, or in that of given positions.
    """
    picking = isinstance(index_map, tuple)
    found = _picked(block, index_map) if picking else _laid_out(block, index_map)
    if isinstance(found, Refusal):
        return found
    place, shape = found
    ordered = tuple(block.iters[k] for k in index_map) if picking else ()
    used = used_iters(block, *place, *indices)
    iters = (*ordered, *(it for it in used if it not in ordered))
    if (given := _why_ambiguous(iters, place)) is not None:
        rule = "a place of its own for each of the iterations that the access depends on"
        return Refusal(rule, given, block.name)
    cache = replace(cache_of(state, buffer, storage_scope), shape=shape)
    return Reindexing(block, buffer, indices, iters, cache, place)


_Layout: TypeAlias = "tuple[tuple[Expr, ...], tuple[Expr, ...]]"
"""The indices of a cache, over the iterations of a block, and its shape."""


def _picked(block: Block, positions: tuple[int, ...]) -> _Layout | Refusal:
    count = len(block.iters)
    if not all(0 <= k < count for k in positions):
        return Refusal("positions of the block's iterations", f"{positions} of {count}", block.name)
    iters = [block.iters[k] for k in positions]
    return tuple(it.var for it in iters), tuple(it.extent for it in iters)


def _laid_out(block: Block, text: str) -> _Layout | Refusal:
    found = read_map(text, len(block.iters), "iteration", block.name)
    if isinstance(found, Refusal):
        return found
    try:
        shape = found.map_shape([it.extent for it in block.iters])
    except UsageError as error:
        return Refusal("an index map to indices of a known range", f"{error}", block.name)
    known = Simplifier({it.var: it.extent for it in block.iters}, keep_units=True)
    return found.map_indices([it.var for it in block.iters], known), shape


def _why_ambiguous(iters: Sequence[IterVar], place: Sequence[Expr]) -> str | None:
    """Why different iterations have the same place, or None."""
    if len(set(place)) == len(iters) and all(it.var in place for it in iters):
        return None
    own = {it.var: it.extent for it in iters}
    if Facts(own).is_one_to_one(place, own):
        return None
    given = set[Var]().union(*(free_vars(e) for e in place))
    missing = sorted(it.var.name for it in iters if it.var not in given)
    at = f"[{', '.join(map(str, place))}]"
    return f"{at}, without '{missing[0]}'" if missing else at


def why_not_flat(block: Block) -> Refusal | None:
    """Why the iterations of a block are not all that moves inside it, or None."""
    inside = next((s for s in walk(block.body) if isinstance(s, For | Block)), None)
    if inside is None:
        return None
    given = f"loop '{inside.var.name}'" if isinstance(inside, For) else f"block '{inside.name}'"
    return Refusal("a block without loops or blocks inside", given, block.name)


def one_place(block: Block, buffer: Buffer) -> tuple[Expr, ...] | Refusal:
    """The indices of the only place where a block accesses a buffer."""
    if (wrong := why_not_flat(block)) is not None:
        return wrong
    if reason := why_not_elementwise(block):
        hint = "reindex before tensorize"
        return Refusal("a buffer that the block accesses at one place", reason, block.name, hint)
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
    indices = places.pop()
    if any(expr_loads(i) for i in indices):
        given = f"{buffer.name}[{', '.join(map(str, indices))}]"
        return Refusal("indices that read nothing", given, block.name)
    return indices


def used_iters(block: Block, *exprs: Expr) -> tuple[IterVar, ...]:
    """The iterations of a block that some expressions depend on, in the block's order."""
    used = set[Var]().union(*(free_vars(e) for e in exprs))
    return tuple(it for it in block.iters if it.var in used)


def check_once(
    state: State, block: Block, buffer: Buffer, indices: Sequence[Expr]
) -> Refusal | None:
    """Why a block may leave elements out or write them in several iterations, or None."""
    used = {it.var: it.extent for it in used_iters(block, *indices)}
    known = Facts({**state.iters_around(block), **used})
    if conditional(state, block) or not known.is_one_to_one(indices, used):
        given = f"'{buffer.name}' written at {', '.join(map(str, indices))}"
        rule = "a block that writes one element in each of its iterations"
        return Refusal(rule, given, block.name)
    return None
