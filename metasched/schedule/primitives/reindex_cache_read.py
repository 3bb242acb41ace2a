"""reindex_cache_read: a block reads a cache laid out in the order of its own iterations."""

from __future__ import annotations

from metasched.analysis.dependence import Scope
from metasched.ir.stmt import Block
from metasched.schedule.primitives.cache_read import check_finished
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.primitives.reindexing import Reindexing, mapped, one_place
from metasched.schedule.primitives.staging import accessed, check_scope
from metasched.schedule.state import State


def reindex_cache_read(
    state: State,
    block: str,
    read_buffer_index: int | str,
    storage_scope: str,
    index_map: str | tuple[int, ...],
) -> tuple[State, tuple[str, ...]]:
    """Fill a cache with what a block reads of a buffer, indexed by its own iterations.

    It packs an operand: where the last index is the iteration that a vector runs over, the loads
    become contiguous whatever the layout of the buffer. The copy stands in front of the block's
    nest and runs through the iterations that matter, in the order of the block; other readers go
    on reading the buffer.

    Args:
        state: where to apply.
        block: the reader.
        read_buffer_index: which of the buffers it reads, or its name.
        storage_scope: where the cache lives, one of `metasched.ir.scopes.STORAGE`.
        index_map: from the iterations of the block to the indices of the cache, as
            ``"i, j, k -> [k, j]"`` or a function; or the positions of the iterations that index
            the cache, in whose order the copy then runs.

    Returns:
        The copying block.

    Requires:
        - a known storage scope
        - an index or the name of a buffer that the block reads
        - a buffer that is finished before the first nest that reads it
        - a block without loops or blocks inside
        - a buffer that the block accesses at one place
        - indices that read nothing
        - an index map
        - an index map with one index for each iteration
        - an index map to indices of a known range
        - positions of the block's iterations
        - a place of its own for each of the iterations that the access depends on

    ::

        for i, j, k in grid(8, 64, 32):  ->  for ax0, ax1 in grid(64, 32):
            c[i, j] += a[i, k] * b[j, k]         b_local[ax1, ax0] = b[ax0, ax1]
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
    index_map: str | tuple[int, ...],
) -> Reindexing | Refusal:
    region = check_scope(storage_scope, block.name) or accessed(block, which)
    if isinstance(region, Refusal):
        return region
    buffer = region.buffer
    if (wrong := check_finished(scope, buffer, (block,))) is not None:
        return wrong
    indices = one_place(block, buffer)
    if isinstance(indices, Refusal):
        return indices
    return mapped(state, block, buffer, indices, storage_scope, index_map)


PRIMITIVES.register(
    "reindex_cache_read", Primitive("reindex_cache_read", reindex_cache_read, output="block")
)
