"""Copies of what blocks read and write, in a shape and a memory that suit them.

Each puts a block in the program that copies; `compute_at` and `reverse_compute_at` then move it
to the loop where the copy is wanted.
"""

from __future__ import annotations

from collections.abc import Sequence

from metasched.schedule.index_map import IndexMap, IndexMapLike
from metasched.schedule.recorder import Recorder
from metasched.trace.instruction import Ref


class Movement(Recorder):
    """Methods of `Schedule`: data movement."""

    def cache_read(
        self,
        block: Ref | str,
        read_buffer_index: int | str,
        storage_scope: str,
        consumer_blocks: Sequence[Ref | str] | None = (),
    ) -> Ref:
        """Fill a cache with what is read of a buffer, and let its readers read the cache."""
        given = block, read_buffer_index, storage_scope, *_optional(consumer_blocks)
        return self._do("cache_read", *given)[0]

    def cache_write(
        self,
        block: Ref | str,
        write_buffer_index: int | str,
        storage_scope: str,
        consumer_blocks: Sequence[Ref | str] | None = (),
    ) -> Ref:
        """Let a block write a cache, and copy the cache to the buffer behind the block's nest."""
        given = block, write_buffer_index, storage_scope, *_optional(consumer_blocks)
        return self._do("cache_write", *given)[0]

    def cache_inplace(
        self, block: Ref | str, read_buffer_index: int | str, storage_scope: str
    ) -> tuple[Ref, ...]:
        """Let a block that reads and writes a buffer work on a cache that copies fill and store."""
        return self._do("cache_inplace", block, read_buffer_index, storage_scope)

    def cache_index(
        self, block: Ref | str, storage_scope: str, cse_thresh: int = 0
    ) -> tuple[Ref, ...]:
        """Compute the indices at which a block reads once, in caches that it looks them up in."""
        return self._do("cache_index", block, storage_scope, cse_thresh=cse_thresh)

    def reindex(self, block: Ref | str, buffer: str | Sequence[str | int]) -> Ref:
        """Give a block a cache of a buffer that is indexed by the block's own iterations."""
        return self._do("reindex", block, buffer)[0]

    def reindex_cache_read(
        self,
        block: Ref | str,
        read_buffer_index: int | str,
        storage_scope: str,
        index_map: IndexMapLike | Sequence[int],
    ) -> Ref:
        """Fill a cache with what a block reads of a buffer, indexed by its own iterations."""
        given = self._map("reindex_cache_read", block, index_map)
        return self._do("reindex_cache_read", block, read_buffer_index, storage_scope, given)[0]

    def reindex_cache_write(
        self,
        block: Ref | str,
        write_buffer_index: int | str,
        storage_scope: str,
        index_map: IndexMapLike | Sequence[int],
    ) -> Ref:
        """Let a block write a cache, indexed by its own iterations, and copy it behind the nest."""
        given = self._map("reindex_cache_write", block, index_map)
        return self._do("reindex_cache_write", block, write_buffer_index, storage_scope, given)[0]

    def read_at(
        self, loop: Ref | str, block: Ref | str, read_buffer_index: int | str, storage_scope: str
    ) -> Ref:
        """Fill a cache in each iteration of a loop with the tile of a buffer that is read there."""
        return self._do("read_at", loop, block, read_buffer_index, storage_scope)[0]

    def write_at(
        self, loop: Ref | str, block: Ref | str, write_buffer_index: int | str, storage_scope: str
    ) -> Ref:
        """Let blocks under a loop write a cache, which each iteration copies to its tile."""
        return self._do("write_at", loop, block, write_buffer_index, storage_scope)[0]

    def _map(
        self, primitive: str, block: Ref | str, given: IndexMapLike | Sequence[int]
    ) -> str | Sequence[int]:
        """An index map as traces hold it."""
        if not callable(given) and not isinstance(given, IndexMap):
            return given
        target = self.state.block(str(self.value(block)), primitive)
        return str(IndexMap.of(given, len(target.iters)))


def _optional(blocks: Sequence[Ref | str] | None) -> list[Sequence[Ref | str]]:
    """An input that traces hold only where it is given."""
    return [blocks] if blocks else []
