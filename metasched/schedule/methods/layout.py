"""Other shapes: of buffers and of the domains of blocks, through index maps and padding.

An index map is a text such as ``"i, j -> [i // 4, j, i % 4]"`` or a function of indices; traces
keep the text. `metasched.schedule.index_map` says what it can do.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from metasched.schedule.index_map import IndexMap, IndexMapLike
from metasched.schedule.primitives.decompose_padding import PaddedCopy, find_padding
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.primitives.staging import access_of
from metasched.schedule.recorder import Recorder
from metasched.trace.instruction import Ref


class Layout(Recorder):
    """Methods of `Schedule`: layout."""

    def transform_layout(
        self,
        block: Ref | str,
        buffer: str | Sequence[str | int],
        index_map: IndexMapLike,
        pad_value: IndexMapLike | int | float | None = None,
        *,
        assume_injective_transform: bool = False,
    ) -> None:
        """Lay a buffer out anew: element ``i`` goes to ``index_map(i)``, wherever it is used."""
        given = buffer if isinstance(buffer, str) else tuple(buffer)
        found = access_of(self.state.block(str(self.value(block)), "transform_layout"), given)
        rank = None if isinstance(found, Refusal) else len(found[0].ranges)
        text = _text(index_map, rank)
        pad = pad_value if isinstance(pad_value, int | float | None) else _text(pad_value, None)
        do = partial(
            self._do, "transform_layout", block, given, text,
            assume_injective_transform=assume_injective_transform,
        )  # fmt: skip
        do() if pad is None else do(pad_value=pad)

    def transform_block_layout(self, block: Ref | str, index_map: IndexMapLike) -> None:
        """Let a block run over the iterations that a map makes of its own."""
        target = self.state.block(str(self.value(block)), "transform_block_layout")
        self._do("transform_block_layout", block, _text(index_map, len(target.iters)))

    def decompose_padding(self, block: Ref | str, loop: Ref | str) -> Ref:
        """Store the padding in front of a loop, and let the block store the rest only."""
        return self._do("decompose_padding", block, loop)[0]

    def can_decompose_padding(self, block: Ref | str, loop: Ref | str) -> bool:
        """Whether `decompose_padding` would take this block and this loop (not traced)."""
        at = str(self.value(block)), str(self.value(loop))
        return isinstance(find_padding(self.state, *at, "can_decompose_padding"), PaddedCopy)

    def pad_einsum(self, block: Ref | str, padding: Sequence[int]) -> None:
        """Round the extents of a block's iterations up to multiples; tiles then need no guards."""
        self._do("pad_einsum", block, tuple(padding))


def _text(index_map: IndexMapLike, rank: int | None) -> str:
    return index_map if isinstance(index_map, str) else str(IndexMap.of(index_map, rank))
