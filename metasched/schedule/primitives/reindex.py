"""reindex: a block reads or writes a cache that is laid out in its own iterations."""

from __future__ import annotations

from metasched.analysis.dependence import Scope
from metasched.ir.expr import Buffer
from metasched.ir.stmt import Block, Region
from metasched.schedule.primitives.cache_read import check_finished
from metasched.schedule.primitives.cache_write import check_write
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.primitives.reindexing import (
    Reindexing,
    check_once,
    one_place,
    used_iters,
)
from metasched.schedule.primitives.staging import access_of
from metasched.schedule.state import State


def reindex(
    state: State, block: str, buffer: str | tuple[str | int, ...]
) -> tuple[State, tuple[str, ...]]:
    """Give a block a cache of a buffer that is indexed by the block's own iterations.

    The cache has a dimension for each iteration that the access depends on, in the order of the
    block. Afterwards the block accesses it plainly, which `tensorize` and `transform_layout` like.
    A copy in front of the block's nest fills a cache that it reads, one behind it writes back a
    cache that it writes; other blocks keep the buffer.

    Args:
        state: where to apply.
        block: the block.
        buffer: ``("read", index)``, ``("write", index)`` or the name of the buffer.

    Returns:
        The copying block.

    Requires:
        - "read" or "write" with an index, or a name
        - an index or the name of a buffer that the block reads (or writes)
        - a block without loops or blocks inside
        - a buffer that the block accesses at one place
        - indices that read nothing
        - a buffer that is finished before the first nest that reads it
        - a block that alone writes the buffer
        - a block that does not read what it writes
        - readers of the buffer outside of the block's nest
        - a block that writes one element in each of its iterations

    ::

        for i, j, k in grid(8, 6, 4):    ->  for ax0, ax1 in grid(6, 4):
            c[i, j] += a[i, k] * b[k, j]         b_reindex[ax0, ax1] = b[ax1, ax0]
                                             for i, j, k in grid(8, 6, 4):
                                                 c[i, j] += a[i, k] * b_reindex[j, k]
    """
    target = state.block(block, "reindex")
    scope = Scope.of(state.scope(target))
    found = access_of(target, buffer)
    if isinstance(found, Refusal):
        raise found.error(state, "reindex")
    region, writing = found
    change = _check(state, scope, target, region, writing=writing)
    if isinstance(change, Refusal):
        raise change.error(state, "reindex")
    apply = change.writing if writing else change.reading
    return apply(state, scope.root), (change.cache.name,)


def _check(
    state: State, scope: Scope, block: Block, region: Region, *, writing: bool
) -> Reindexing | Refusal:
    buffer = region.buffer
    indices = one_place(block, buffer)
    if isinstance(indices, Refusal):
        return indices
    if writing:
        wrong = check_write(scope, block, buffer) or check_once(state, block, buffer, indices)
    else:
        wrong = check_finished(scope, buffer, (block,))
    if wrong is not None:
        return wrong
    iters = used_iters(block, *indices)
    (name,) = state.fresh(f"{buffer.name}_reindex")
    cache = Buffer(name, tuple(it.extent for it in iters), buffer.dtype)
    return Reindexing(block, buffer, indices, iters, cache, tuple(it.var for it in iters))


PRIMITIVES.register("reindex", Primitive("reindex", reindex, output="block"))
