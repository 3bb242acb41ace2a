"""Other shapes: of buffers and of the domains of blocks, through index maps and padding.

An index map is a text such as ``"i, j -> [i // 4, j, i % 4]"`` or a function of indices; traces
keep the text. `metasched.schedule.index_map` says what it can do.
"""

from __future__ import annotations

from metasched.schedule.index_map import IndexMap, IndexMapLike
from metasched.schedule.recorder import Recorder
from metasched.trace.instruction import Ref


class Layout(Recorder):
    """Methods of `Schedule`: layout."""

    def transform_block_layout(self, block: Ref, index_map: IndexMapLike) -> None:
        """Let a block run over the iterations that a map makes of its own."""
        target = self.state.block(str(self.value(block)), "transform_block_layout")
        self._do("transform_block_layout", block, _text(index_map, len(target.iters)))


def _text(index_map: IndexMapLike, rank: int) -> str:
    return index_map if isinstance(index_map, str) else str(IndexMap.of(index_map, rank))
