"""Initial values apart from sums, and partial results that can be computed in parallel."""

from __future__ import annotations

from metasched.schedule.recorder import Recorder
from metasched.trace.instruction import Ref


class Reduction(Recorder):
    """Methods of `Schedule`: reduction."""

    def decompose_reduction(self, block: Ref | str, loop: Ref | str) -> Ref:
        """Make the init of a reduction a block of its own in front of a loop."""
        return self._do("decompose_reduction", block, loop)[0]

    def rfactor(self, loop: Ref | str, factor_axis: int) -> Ref:
        """Reduce each iteration of a reduce loop on its own, then reduce the partial results."""
        return self._do("rfactor", loop, factor_axis)[0]
