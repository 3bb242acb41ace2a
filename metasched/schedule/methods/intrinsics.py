"""Blocks made of other statements, for instructions that compute a whole tile."""

from __future__ import annotations

from collections.abc import Sequence

from metasched.schedule.recorder import Recorder
from metasched.trace.instruction import Ref


class Intrinsics(Recorder):
    """Methods of `Schedule`: blocks of statements and intrinsics."""

    def blockize(
        self, target: Ref | str | Sequence[Ref | str], preserve_unit_iters: bool = True
    ) -> Ref:
        """Make one block of what is under a loop, or of blocks that follow each other."""
        given = target if isinstance(target, Ref) else tuple(target)
        return self._do("blockize", given, preserve_unit_iters=preserve_unit_iters)[0]

    def tensorize(
        self, block_or_loop: Ref | str, tensor_intrin: str, preserve_unit_iters: bool = True
    ) -> None:
        """Compute a tile by an intrinsic instead of the loops and the block in it."""
        self._do("tensorize", block_or_loop, tensor_intrin, preserve_unit_iters=preserve_unit_iters)
