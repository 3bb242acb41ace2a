"""reindex_cache_write: a block writes a cache laid out in the order of its own iterations."""

from __future__ import annotations

from metasched.analysis.dependence import Scope
from metasched.ir.stmt import Block
from metasched.schedule.primitives.cache_write import check_write
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.primitives.reindexing import (
    Reindexing,
    check_once,
    mapped,
    one_place,
    used_iters,
)
from metasched.schedule.primitives.staging import accessed, check_scope
from metasched.schedule.state import State


def reindex_cache_write(
    state: State,
    block: str,
    write_buffer_index: int | str,
    storage_scope: str,
    index_map: str | tuple[int, ...],
) -> tuple[State, tuple[str, ...]]:
    """Let a block write a cache, indexed by its own iterations, and copy it behind the nest.

    A tile of results can so lie as an intrinsic wants it, whatever the layout of the buffer. The
    copy runs through the iterations that matter, in the order of the block; other blocks go on
    reading the buffer.

    Args:
        state: where to apply.
        block: the block.
        write_buffer_index: which of the buffers it writes, or its name.
        storage_scope: where the cache lives, one of `metasched.ir.scopes.STORAGE`.
        index_map: from the iterations of the block to the indices of the cache, as
            ``"i, j, k -> [j, i]"`` or a function; or the positions of the iterations that index
            the cache, in whose order the copy then runs.

    Returns:
        The copying block.

    Requires:
        - a known storage scope
        - an index or the name of a buffer that the block writes
        - a block that alone writes the buffer
        - a block that does not read what it writes
        - readers of the buffer outside of the block's nest
        - a block without loops or blocks inside
        - a buffer that the block accesses at one place
        - indices that read nothing
        - a block that writes one element in each of its iterations
        - an index map
        - an index map with one index for each iteration
        - an index map to indices of a known range
        - positions of the block's iterations
        - a place of its own for each of the iterations that the access depends on
        - a place that depends on no further iterations

    ::

        for i, j in grid(8, 64):         ->  for i, j in grid(8, 64):
            c[i, j] = f(...)                     c_local[j, i] = f(...)
                                             for ax0, ax1 in grid(8, 64):
                                                 c[ax0, ax1] = c_local[ax1, ax0]
    """
    target = state.block(block, "reindex_cache_write")
    scope = Scope.of(state.scope(target))
    change = _check(state, scope, target, write_buffer_index, storage_scope, index_map)
    if isinstance(change, Refusal):
        raise change.error(state, "reindex_cache_write")
    return change.writing(state, scope.root), (change.cache.name,)


def _check(
    state: State,
    scope: Scope,
    block: Block,
    which: int | str,
    storage_scope: str,
    index_map: str | tuple[int, ...],
) -> Reindexing | Refusal:
    region = check_scope(storage_scope, block.name) or accessed(block, which, writing=True)
    if isinstance(region, Refusal):
        return region
    buffer = region.buffer
    if (wrong := check_write(scope, block, buffer)) is not None:
        return wrong
    indices = one_place(block, buffer)
    if isinstance(indices, Refusal):
        return indices
    if (wrong := check_once(state, block, buffer, indices)) is not None:
        return wrong
    change = mapped(state, block, buffer, indices, storage_scope, index_map)
    if isinstance(change, Refusal):
        return change
    needed = used_iters(block, *indices)
    further = [it.var.name for it in change.iters if it not in needed]
    if further:
        return Refusal(
            "a place that depends on no further iterations", f"'{further[0]}'", block.name
        )
    return change


PRIMITIVES.register(
    "reindex_cache_write", Primitive("reindex_cache_write", reindex_cache_write, output="block")
)
