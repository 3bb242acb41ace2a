"""Notes on loops and blocks, and a mark in the trace.

Later steps (postprocessors, lowering) read them; a note that nothing reads changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from metasched.schedule.recorder import Recorder
from metasched.trace.instruction import Ref

Note: TypeAlias = "str | int | float | Ref | Sequence[Note] | Mapping[str, Note]"
"""What can be noted; sequences become tuples, and mappings tuples of pairs."""


class Notes(Recorder):
    """Methods of `Schedule`: notes."""

    def annotate(self, block_or_loop: Ref | str, ann_key: str, ann_val: Note) -> None:
        """Note a key and a value on a block or loop."""
        self._do("annotate", block_or_loop, ann_key, ann_val)

    def unannotate(self, block_or_loop: Ref | str, ann_key: str) -> None:
        """Remove the annotation of a key from a block or loop."""
        self._do("unannotate", block_or_loop, ann_key)

    def enter_postproc(self) -> None:
        """Mark that the steps from here on are postprocessing; the program stays as it is."""
        self._do("enter_postproc")
