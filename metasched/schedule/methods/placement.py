"""Where blocks are computed: under a loop of another block, or in its formula."""

from __future__ import annotations

from metasched.schedule.recorder import Recorder
from metasched.trace.instruction import Ref


class Placement(Recorder):
    """Methods of `Schedule`: placement."""

    def compute_at(
        self, block: Ref | str, loop: Ref | str, preserve_unit_loops: bool = False, index: int = -1
    ) -> None:
        """Compute a producer under a loop of its consumers, as much as one iteration needs."""
        self._do("compute_at", block, loop, preserve_unit_loops=preserve_unit_loops, index=index)

    def reverse_compute_at(
        self, block: Ref | str, loop: Ref | str, preserve_unit_loops: bool = False, index: int = -1
    ) -> None:
        """Compute a consumer under a loop of its producers, as much as one iteration has made."""
        self._do(
            "reverse_compute_at", block, loop, preserve_unit_loops=preserve_unit_loops, index=index
        )  # fmt: skip

    def compute_inline(self, block: Ref | str) -> None:
        """Put a producer's formula in place of every read of its result, and drop the producer."""
        self._do("compute_inline", block)

    def reverse_compute_inline(self, block: Ref | str) -> None:
        """Apply a consumer's formula where its producer stores, and drop the consumer."""
        self._do("reverse_compute_inline", block)

    def fuse_reduction_epilogue(
        self, reduction_block: Ref | str, epilogue_block: Ref | str
    ) -> None:
        """Let a reduction apply the elementwise formula that follows it, and drop the epilogue."""
        self._do("fuse_reduction_epilogue", reduction_block, epilogue_block)
