"""How the iterations of loops are cut, merged, ordered and run.

None of them changes what a block computes; they change the order of its iterations, and what
runs at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence

from metasched.schedule.recorder import Recorder
from metasched.trace.instruction import Ref


class Loops(Recorder):
    """Methods of `Schedule`: loops."""

    def split(
        self,
        loop: Ref | str,
        factors: Sequence[Ref | int | None],
        preserve_unit_iters: bool = True,
        disable_predication: bool = False,
    ) -> tuple[Ref, ...]:
        """Split a loop into nested loops with the given extents, outermost first."""
        return self._do(
            "split", loop, factors, preserve_unit_iters=preserve_unit_iters,
            disable_predication=disable_predication,
        )  # fmt: skip

    def fuse(self, *loops: Ref | str, preserve_unit_iters: bool = True) -> Ref:
        """Fuse perfectly nested loops, given outermost first, into one."""
        return self._do("fuse", *loops, preserve_unit_iters=preserve_unit_iters)[0]

    def loop_partition(
        self, loop: Ref | str, factors: Sequence[Ref | int | None], preserve_unit_iters: bool = True
    ) -> tuple[Ref, ...]:
        """Cut a loop into loops that follow each other, each with a copy of what is in it."""
        return self._do("loop_partition", loop, factors, preserve_unit_iters=preserve_unit_iters)

    def merge(self, *loops: Ref | str) -> Ref:
        """Merge loops of nests that follow each other, so that their iterations alternate."""
        return self._do("merge", *loops)[0]

    def reorder(self, *ordered_loops: Ref | str) -> None:
        """Put loops of one chain into the given order, outermost first."""
        self._do("reorder", *ordered_loops)

    def reorder_block_iter_var(self, block: Ref | str, new_order: Sequence[int]) -> None:
        """Put the iteration variables of a block into another order; loops stay as they are."""
        self._do("reorder_block_iter_var", block, new_order)

    def add_unit_loop(self, block_or_loop: Ref | str) -> Ref:
        """Put a loop of extent 1 around a block or loop."""
        return self._do("add_unit_loop", block_or_loop)[0]

    def parallel(self, loop: Ref | str) -> None:
        """Run the iterations of a loop in parallel."""
        self._do("parallel", loop)

    def vectorize(self, loop: Ref | str) -> None:
        """Run the iterations of a loop in the lanes of vectors."""
        self._do("vectorize", loop)

    def bind(self, loop: Ref | str, thread_axis: str) -> None:
        """Bind a loop to a thread axis of a GPU."""
        self._do("bind", loop, thread_axis)

    def unroll(self, loop: Ref | str) -> None:
        """Write the iterations of a loop out one after the other."""
        self._do("unroll", loop)
