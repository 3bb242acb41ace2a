"""How intermediate buffers lie in memory, and what is known of accesses to them."""

from __future__ import annotations

from collections.abc import Sequence

from metasched.schedule.primitives.annotate_buffer_access import NewRanges, ranges_text
from metasched.schedule.recorder import Recorder
from metasched.trace.instruction import Ref


class Memory(Recorder):
    """Methods of `Schedule`: memory."""

    def storage_align(
        self, block: Ref | str, buffer_index: int | str, axis: int, factor: int, offset: int
    ) -> None:
        """Pad the stride of an axis to ``k * factor + offset`` elements for some ``k``."""
        self._do("storage_align", block, buffer_index, axis, factor, offset)

    def set_scope(self, block: Ref | str, buffer_index: int | str, storage_scope: str) -> None:
        """Let an intermediate buffer live in another memory; its name says so."""
        self._do("set_scope", block, buffer_index, storage_scope)

    def rolling_buffer(self, block: Ref | str, write_buffer_index: int | str) -> None:
        """Keep what one iteration of a loop made for the next one, in a buffer that goes round."""
        self._do("rolling_buffer", block, write_buffer_index)

    def unsafe_set_dtype(self, block: Ref | str, buffer_index: int | str, dtype: str) -> None:
        """Store an intermediate buffer in another type, with casts where it is written and read."""
        self._do("unsafe_set_dtype", block, buffer_index, dtype)

    def unsafe_hide_buffer_access(
        self, block: Ref | str, buf_type: str, buf_index_array: Sequence[int]
    ) -> None:
        """Leave buffers out of what a block says that it reads or writes."""
        self._do("unsafe_hide_buffer_access", block, buf_type, tuple(buf_index_array))

    def annotate_buffer_access(
        self, block: Ref | str, buffer_index: int | str, buf_type: str, gen_new_ranges: NewRanges
    ) -> None:
        """Promise what a block reads or writes of a buffer, instead of what its body shows."""
        target = self.state.block(str(self.value(block)), "annotate_buffer_access")
        text = ranges_text(gen_new_ranges, len(target.iters))
        self._do("annotate_buffer_access", block, buffer_index, buf_type, text)
