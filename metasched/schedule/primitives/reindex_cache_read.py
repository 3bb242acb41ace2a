"""reindex_cache_read: a block reads a cache laid out in the order of its own iterations."""

from __future__ import annotations

from dataclasses import replace

from metasched.analysis.dependence import Scope
from metasched.ir.stmt import Block
from metasched.schedule.primitives.cache_read import check_finished
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.primitives.reindexing import Reindexing, one_place, used_iters
from metasched.schedule.primitives.staging import accessed, cache_of, check_scope
from metasched.schedule.state import State


def reindex_cache_read(
    state: State,
    block: str,
    read_buffer_index: int | str,
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
        read_buffer_index: which of the buffers it reads, or its name.
        storage_scope: where the cache lives, one of `metasched.ir.scopes.STORAGE`.
        index_map: the positions of the block's iterations that index the cache, in order.

    Returns:
        The copying block.

    Requires:
        - a known storage scope
        - an index or the name of a buffer that the block reads
        - a buffer that is finished before the first nest that reads it
        - a block without loops or blocks inside
        - distinct positions of the block's iterations
        - a buffer that the block accesses at one place
        - positions of all iterations that the read depends on

    ::

        for i, j, k in grid(8, 64, 32):  ->  for ax0, ax1 in grid(32, 64):
            c[i, j] += a[i, k] * b[j, k]         b_local[ax0, ax1] = b[ax1, ax0]
                                             for i, j, k in grid(8, 64, 32):
                                                 c[i, j] += a[i, k] * b_local[k, j]
    """
    target = state.block(block, "reindex_cache_read")
    scope = Scope.of(state.scope(target))
    packing = _check(state, scope, target, read_buffer_index, storage_scope, index_map)
    if isinstance(packing, Refusal):
        raise packing.error(state, "reindex_cache_read")
    return packing.reading(state, scope.root), (packing.cache.name,)


def _check(
    state: State,
    scope: Scope,
    block: Block,
    which: int | str,
    storage_scope: str,
    index_map: tuple[int, ...],
) -> Reindexing | Refusal:
    name, count = block.name, len(block.iters)
    region = check_scope(storage_scope, name) or accessed(block, which)
    if isinstance(region, Refusal):
        return region
    buffer = region.buffer
    if (wrong := check_finished(scope, buffer, (block,))) is not None:
        return wrong
    if len(set(index_map)) < len(index_map) or not all(0 <= k < count for k in index_map):
        given = f"{index_map} of {count} iterations"
        return Refusal("distinct positions of the block's iterations", given, name)
    indices = one_place(block, buffer)
    if isinstance(indices, Refusal):
        return indices
    iters = tuple(block.iters[k] for k in index_map)
    missing = {it.var.name for it in used_iters(block, *indices) if it not in iters}
    if missing:
        given = f"none of '{min(missing)}'"
        return Refusal("positions of all iterations that the read depends on", given, name)
    cache = replace(cache_of(state, buffer, storage_scope), shape=tuple(it.extent for it in iters))
    return Reindexing(block, buffer, indices, iters, cache, tuple(it.var for it in iters))


PRIMITIVES.register(
    "reindex_cache_read", Primitive("reindex_cache_read", reindex_cache_read, output="block")
)
