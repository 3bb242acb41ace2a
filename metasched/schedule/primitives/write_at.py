"""write_at: blocks under a loop write a cache that each iteration copies to its tile."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from metasched.analysis.dependence import reads, writes
from metasched.ir.stmt import Block
from metasched.schedule.primitives.placement import Placed, Refusal, unfinished
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.primitives.staging import conditional, touched_box
from metasched.schedule.primitives.tile_copy import Tile, tile_at
from metasched.schedule.state import State

_RULE: Final = (
    "a first block that makes, in each iteration of the loop, all that is used of the buffer"
)


def write_at(
    state: State, loop: str, block: str, write_buffer_index: int | str, storage_scope: str
) -> tuple[State, tuple[str, ...]]:
    """Let blocks under a loop write a cache, which each iteration copies to its tile.

    It does what `cache_write` and `reverse_compute_at` do together, but the copy is one block with
    loops inside. It stands behind the last statement in the loop that writes the buffer; all
    blocks under the loop that write or read the buffer use the cache.

    Args:
        state: where to apply.
        loop: a loop around the block.
        block: one of the writers.
        write_buffer_index: which of the buffers it writes, or its name.
        storage_scope: where the cache lives, one of `metasched.ir.scopes.STORAGE`.

    Returns:
        The copying block.

    Requires:
        - a known storage scope
        - an index or the name of a buffer that the block writes
        - a loop around the block in its scope
        - a loop that is not vectorized
        - a first block that makes, in each iteration of the loop, all that is used of the buffer

    ::

        for i in serial(8):              ->  for i in serial(8):
            for j in serial(4):                  for j in serial(4):
                c[i, j] = a[i, j]                    c_local[i, j] = a[i, j]
                                                 with block("c_local"):
                                                     for ax0, ax1 in grid(1, 4):
                                                         c[i + ax0, ax1] = c_local[i + ax0, ax1]
    """
    found = tile_at(state, loop, block, write_buffer_index, storage_scope, "write_at")
    if isinstance(found, Refusal):
        raise found.error(state, "write_at")
    tile, cache = found
    copy = tile.copy(tile.buffer, cache)
    if (given := _why_not_made(tile, copy)) is not None:
        first = tile.users[0].name
        raise Refusal(_RULE, given, first).error(state, "write_at")
    children = list(tile.children)
    writing = [any(writes(b, tile.buffer) for b in tile.using(s)) for s in children]
    children.insert(len(writing) - writing[::-1].index(True), copy)
    return tile.applied(cache, children, copy), (cache.name,)


def _why_not_made(tile: Tile, copy: Block) -> str | None:
    """Why the copy might store elements that the first block did not make, or None."""
    first, buffer = tile.users[0], tile.buffer
    if reads(first, buffer) or not writes(first, buffer):
        return f"'{first.name}', which reads '{buffer.name}' first"
    if conditional(tile.state, first):
        return f"'{first.name}', which runs only under a condition"
    made = touched_box(tile.state, (first,), buffer)
    if not all(map(tile.known.within, touched_box(tile.state, tile.users, buffer), made)):
        return f"'{first.name}', which makes only a part of '{buffer.name}'"
    bindings = {it.var: it.binding for it in copy.iters}
    wanted = Placed(replace(copy, reads=copy.writes), bindings, tuple(x.var for x in tile.chain))
    return unfinished(tile.known, Placed.of(tile.state, first), wanted)


PRIMITIVES.register("write_at", Primitive("write_at", write_at, output="block"))
