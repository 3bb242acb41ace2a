"""Handles to the blocks and loops of the program as it stands.

They are traced, so that a trace finds the same places on another program of the same structure.
"""

from __future__ import annotations

from metasched.schedule.recorder import Recorder
from metasched.trace.instruction import Ref


class Lookup(Recorder):
    """Methods of `Schedule`: lookup."""

    def get_block(self, name: str) -> Ref:
        """The block of a name."""
        return self._do("get_block", name)[0]

    def get_loops(self, block: Ref | str) -> tuple[Ref, ...]:
        """The loops around a block inside its parent block, outermost first."""
        return self._do("get_loops", block)

    def get_child_blocks(self, block_or_loop: Ref | str) -> tuple[Ref, ...]:
        """The blocks directly in a block or loop, in execution order."""
        return self._do("get_child_blocks", block_or_loop)

    def get_producers(self, block: Ref | str) -> tuple[Ref, ...]:
        """The blocks before a block that write what it reads, in execution order."""
        return self._do("get_producers", block)

    def get_consumers(self, block: Ref | str) -> tuple[Ref, ...]:
        """The blocks behind a block that read what it writes, in execution order."""
        return self._do("get_consumers", block)

    def get_output_blocks(self, scope_block: Ref | str) -> tuple[Ref, ...]:
        """The blocks in a block that write what outlives it, in execution order."""
        return self._do("get_output_blocks", scope_block)
