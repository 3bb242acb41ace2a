"""What is left open: tile sizes, one of several integers, where a block is computed.

A choice is drawn, replayed or given (see `metasched.schedule.samplers.site`); its outputs are
integer handles that other primitives take in place of numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

from metasched.schedule.recorder import Recorder
from metasched.trace.instruction import Ref


class Sampling(Recorder):
    """Methods of `Schedule`: sampling."""

    def sample_categorical(
        self, candidates: Sequence[int], probs: Sequence[float], decision: int | None = None
    ) -> Ref:
        """One of some integers; a decision is its index."""
        return self._do("sample_categorical", candidates, probs, decision=decision)[0]

    def sample_perfect_tile(
        self,
        loop: Ref | str,
        n: int,
        max_innermost_factor: int = 16,
        decision: Sequence[int] | None = None,
    ) -> tuple[Ref, ...]:
        """Factors of a loop's extent, the last at most ``max_innermost_factor``."""
        return self._do(
            "sample_perfect_tile", loop, n, max_innermost_factor=max_innermost_factor,
            decision=decision,
        )  # fmt: skip

    def sample_partitioned_tile(
        self,
        loop: Ref | str,
        n: int,
        partition_pos: int = 0,
        innerpart_factor: int = 1,
        decision: Sequence[int] | None = None,
    ) -> tuple[Ref, ...]:
        """Factors of a loop's extent; those from ``partition_pos`` on multiply to a multiple."""
        return self._do(
            "sample_partitioned_tile", loop, n, partition_pos=partition_pos,
            innerpart_factor=innerpart_factor, decision=decision,
        )  # fmt: skip

    def sample_compute_location(self, block: Ref | str, decision: int | None = None) -> Ref:
        """Where a block may be computed: a loop, or that it is inlined (-2) or stays (-1)."""
        return self._do("sample_compute_location", block, decision=decision)[0]
