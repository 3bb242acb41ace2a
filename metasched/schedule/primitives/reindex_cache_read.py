"""reindex_cache_read: a block reads a cache laid out in the order of its own iterations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from metasched.analysis.access import with_regions
from metasched.analysis.dependence import Scope, direct_blocks
from metasched.ir.expr import Buffer, Expr, Load, Var
from metasched.ir.stmt import Block, IterVar, Stmt
from metasched.ir.walk import free_vars, loads, map_expr, map_exprs, substitute
from metasched.schedule.primitives.cache_read import check_read
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.primitives.staging import Copy, rebuilt, top_statements
from metasched.schedule.state import State, edit_stmt


def reindex_cache_read(
    state: State,
    block: str,
    read_buffer_index: int,
    storage_scope: str,
    index_map: tuple[int, ...],
) -> tuple[State, tuple[str, ...]]:
    """Fill a cache with what a block reads of a buffer, indexed by its own iterations.

    It packs an operand: where the last of ``index_map`` is the iteration that a vector runs over,
    the loads become contiguous whatever the layout of the buffer. The copy stands in front of the
    block's nest; other readers go on reading the buffer.

    Args:
        state: where to apply.
        block: the reader.
        read_buffer_index: which of the buffers it reads.
        storage_scope: where the cache lives, one of `metasched.ir.scopes.STORAGE`.
        index_map: the positions of the block's iterations that index the cache, in order.

    Returns:
        The copying block.

    Requires:
        - a known storage scope
        - an index of a buffer that the block reads
        - a buffer that is finished before the first nest that reads it
        - distinct positions of the block's iterations
        - a buffer that the block reads at one place
        - positions of all iterations that the read depends on

    ::

        for i, j, k in grid(8, 64, 32):  ->  for ax0, ax1 in grid(32, 64):
            c[i, j] += a[i, k] * b[j, k]         b_local[ax0, ax1] = b[ax1, ax0]
                                             for i, j, k in grid(8, 64, 32):
                                                 c[i, j] += a[i, k] * b_local[k, j]
    """
    target = state.block(block, "reindex_cache_read")
    scope = Scope.of(state.scope(target))
    packing = _check(scope, target, read_buffer_index, storage_scope, index_map)
    if isinstance(packing, Refusal):
        raise packing.error(state, "reindex_cache_read")
    (name,) = state.fresh(f"{packing.buffer.name}_{storage_scope.replace('.', '_')}")
    shape = tuple(it.extent for it in packing.iters)
    cache = Buffer(name, shape, packing.buffer.dtype, storage_scope)
    copy = Copy(name, shape, cache, lambda own: own, packing.buffer, packing.source).nest(state)
    packed = packing.redirected(target, cache)
    stmts: list[Stmt] = []
    for stmt in top_statements(scope.root):
        if any(b is target for b in direct_blocks(stmt)):
            stmts.append(copy)
            stmt = edit_stmt(stmt, lambda s: packed if s is target else s) or stmt
        stmts.append(stmt)
    return rebuilt(state, scope.root, stmts, cache), (name,)


@dataclass(frozen=True, slots=True)
class _Packing:
    """What a block reads of a buffer, and the iterations to index it by."""

    buffer: Buffer
    indices: tuple[Expr, ...]
    iters: tuple[IterVar, ...]

    def source(self, own: Sequence[Var]) -> list[Expr]:
        """The indices of the buffer for the iterations of the copy."""
        values = {it.var: var for it, var in zip(self.iters, own, strict=True)}
        return [substitute(i, values) for i in self.indices]

    def redirected(self, block: Block, cache: Buffer) -> Block:
        """The block reading the cache."""
        packed = Load(cache, tuple(it.var for it in self.iters))

        def visit(expr: Expr) -> Expr:
            if isinstance(expr, Load) and expr.buffer == self.buffer:
                return packed
            return map_expr(expr, visit)

        return with_regions(replace(block, body=map_exprs(block.body, visit)))


def _check(
    scope: Scope, block: Block, index: int, storage_scope: str, index_map: tuple[int, ...]
) -> _Packing | Refusal:
    region = check_read(scope, block, index, storage_scope)
    if isinstance(region, Refusal):
        return region
    name, count = block.name, len(block.iters)
    if len(set(index_map)) < len(index_map) or not all(0 <= k < count for k in index_map):
        given = f"{index_map} of {count} iterations"
        return Refusal("distinct positions of the block's iterations", given, name)
    places = {i.indices for i in loads(block.body) if i.buffer == region.buffer}
    if len(places) != 1:
        given = f"{len(places)} places of '{region.buffer.name}'"
        return Refusal("a buffer that the block reads at one place", given, name)
    (indices,) = places
    iters = tuple(block.iters[k] for k in index_map)
    needed = set[Var]().union(*(free_vars(i) for i in indices)) & {it.var for it in block.iters}
    missing = needed - {it.var for it in iters}
    if missing:
        given = f"none of '{min(v.name for v in missing)}'"
        return Refusal("positions of all iterations that the read depends on", given, name)
    return _Packing(region.buffer, indices, iters)


PRIMITIVES.register(
    "reindex_cache_read", Primitive("reindex_cache_read", reindex_cache_read, output="block")
)
