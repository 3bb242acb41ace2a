"""read_at: blocks under a loop read a cache that each iteration fills with its tile."""

from __future__ import annotations

from collections.abc import Sequence

from metasched.analysis.dependence import direct_blocks, writes
from metasched.ir.stmt import Stmt
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.primitives.tile_copy import Tile, tile_at
from metasched.schedule.state import State


def read_at(
    state: State, loop: str, block: str, read_buffer_index: int | str, storage_scope: str
) -> tuple[State, tuple[str, ...]]:
    """Fill a cache in each iteration of a loop with the tile of a buffer that is read there.

    It does what `cache_read` and `compute_at` do together, but the copy is one block with loops
    inside. It stands in front of the first statement in the loop that reads the buffer; all blocks
    under the loop that read the buffer read the cache.

    Args:
        state: where to apply.
        loop: a loop around the block.
        block: one of the readers.
        read_buffer_index: which of the buffers it reads, or its name.
        storage_scope: where the cache lives, one of `metasched.ir.scopes.STORAGE`.

    Returns:
        The copying block.

    Requires:
        - a known storage scope
        - an index or the name of a buffer that the block reads
        - a loop around the block in its scope
        - a loop that is not vectorized
        - a buffer that is finished before the first statement in the loop that reads it

    ::

        for i in serial(8):              ->  for i in serial(8):
            for j in serial(4):                  with block("a_local"):
                c[i, j] = a[i, j]                    for ax0, ax1 in grid(1, 4):
                                                         a_local[i + ax0, ax1] = a[i + ax0, ax1]
                                                 for j in serial(4):
                                                     c[i, j] = a_local[i, j]
    """
    found = tile_at(state, loop, block, read_buffer_index, storage_scope, "read_at")
    if isinstance(found, Refusal):
        raise found.error(state, "read_at")
    tile, cache = found
    children = list(tile.children)
    first = next(k for k, s in enumerate(children) if tile.using(s))
    if (wrong := _check(tile, children[first:])) is not None:
        raise wrong.error(state, "read_at")
    copy = tile.copy(cache, tile.buffer)
    children.insert(first, copy)
    return tile.applied(cache, children, copy), (cache.name,)


def _check(tile: Tile, rest: Sequence[Stmt]) -> Refusal | None:
    late = [b.name for s in rest for b in direct_blocks(s) if writes(b, tile.buffer)]
    if not late:
        return None
    rule = "a buffer that is finished before the first statement in the loop that reads it"
    return Refusal(rule, f"'{tile.buffer.name}' written by '{late[0]}'", late[0])


PRIMITIVES.register("read_at", Primitive("read_at", read_at, output="block"))
