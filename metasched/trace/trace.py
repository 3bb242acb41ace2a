"""`Trace`: a tuple of instructions, with the decisions kept apart and keyed by instruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from metasched.trace.instruction import Decision, Instruction


@dataclass(frozen=True, slots=True)
class Trace:
    """The steps of a schedule program and the decisions at its sampling steps."""

    instructions: tuple[Instruction, ...] = ()
    decisions: Mapping[int, Decision] = field(default_factory=lambda: dict[int, Decision]())

    def with_decision(self, index: int, decision: Decision) -> Trace:
        """The same steps with one decision changed."""
        return Trace(self.instructions, {**self.decisions, index: decision})
