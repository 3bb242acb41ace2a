"""cache_index: what a block computes to index its reads, computed once in front of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from metasched.ir.expr import Binary, Buffer, Expr, Load, Var
from metasched.ir.regions import element
from metasched.ir.stmt import Block, Stmt, Store
from metasched.ir.walk import (
    expr_children,
    expr_loads,
    free_vars,
    loads,
    map_expr,
    map_exprs,
    substitute,
    walk_expr,
)
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.primitives.reindexing import used_iters, why_not_flat
from metasched.schedule.primitives.staging import Staging, check_scope, spatial_nest
from metasched.schedule.state import State


def cache_index(
    state: State, block: str, storage_scope: str, *, cse_thresh: int = 0
) -> tuple[State, tuple[str, ...]]:
    """Compute the indices at which a block reads once, in caches that it looks them up in.

    Each index that is more than an iteration or a number gets a cache over the iterations that it
    depends on, filled in front of the block's nest; equal ones share it. An index that holds a
    read itself stays, and so do the indices of what is written, which dependence tests look at.
    Where nothing is computed, nothing changes.

    Args:
        state: where to apply.
        block: the block.
        storage_scope: where the caches live, one of `metasched.ir.scopes.STORAGE`.
        cse_thresh: from 2 on, only the largest parts of indices that occur so often are cached.

    Returns:
        The blocks that fill the caches.

    Requires:
        - a known storage scope
        - a threshold of at least 0
        - a block without loops or blocks inside

    ::

        for i in serial(80):             ->  for ax0 in serial(80):
            b[i] = a[i // 4 + i % 4]             index[ax0] = ax0 // 4 + ax0 % 4
                                             for i in serial(80):
                                                 b[i] = a[index[i]]
    """
    target = state.block(block, "cache_index")
    wrong = check_scope(storage_scope, block) or why_not_flat(target)
    if wrong is None and cse_thresh < 0:
        wrong = Refusal("a threshold of at least 0", f"{cse_thresh}", block, "0 caches all")
    if wrong is not None:
        raise wrong.error(state, "cache_index")
    made: list[str] = []
    for computed in _repeated(target, max(cse_thresh, 1)):
        state, target, name = _cached(state, target, computed, storage_scope)
        made.append(name)
    return state, tuple(made)


def _cached(
    state: State, block: Block, computed: Expr, storage_scope: str
) -> tuple[State, Block, str]:
    """The state with one part of the block's indices in a cache, the block there, the cache."""
    iters = used_iters(block, computed)
    (name,) = state.fresh("index")
    cache = Buffer(name, tuple(it.extent for it in iters), computed.dtype, storage_scope)
    found = Load(cache, tuple(it.var for it in iters))

    def fill(own: Sequence[Var]) -> Store:
        values = {it.var: var for it, var in zip(iters, own, strict=True)}
        return Store(cache, tuple(own), substitute(computed, values))

    changed = _with_lookups(block, computed, found)
    nest = spatial_nest(state, name, cache.shape, fill)
    staging = Staging(block, changed, cache, before=nest)
    return staging.applied(state, state.scope(block)), changed, name


def _repeated(block: Block, least: int) -> list[Expr]:
    """The largest parts of indices that occur a number of times, larger ones first."""
    indices = [i for part in _parts(block) for load in loads(part) for i in load.indices]
    counts = Counter(e for index in indices for e in _computations(index, block))

    def largest(expr: Expr) -> Iterator[Expr]:
        if counts[expr] >= least:
            yield expr
        elif not isinstance(expr, Load):
            for child in expr_children(expr):
                yield from largest(child)

    found = dict.fromkeys(e for index in indices for e in largest(index))
    return sorted(found, key=lambda e: -len(list(walk_expr(e))))


def _parts(block: Block) -> tuple[Stmt, ...]:
    return (block.body,) if block.init is None else (block.init, block.body)


def _computations(index: Expr, block: Block) -> Iterator[Expr]:
    """The parts of an index that compute with iterations and read nothing."""
    if isinstance(index, Load):
        return
    own = {it.var for it in block.iters}
    if isinstance(index, Binary) and free_vars(index) & own and not expr_loads(index):
        yield index
    for child in expr_children(index):
        yield from _computations(child, block)


def _with_lookups(block: Block, computed: Expr, found: Load) -> Block:
    """The block with a cached value in the indices of its reads.

    Its regions keep the formula, so that what is known about them is not lost.
    """

    def in_index(expr: Expr) -> Expr:
        if isinstance(expr, Load):
            return in_expr(expr)
        return found if expr == computed else map_expr(expr, in_index)

    def in_expr(expr: Expr) -> Expr:
        if isinstance(expr, Load):
            return Load(expr.buffer, tuple(in_index(i) for i in expr.indices))
        return map_expr(expr, in_expr)

    reads = (*block.reads, element((found.buffer, found.indices)))
    body = map_exprs(block.body, in_expr)
    init = block.init and map_exprs(block.init, in_expr)
    return replace(block, body=body, init=init, reads=reads)


PRIMITIVES.register("cache_index", Primitive("cache_index", cache_index, output="block", many=True))
