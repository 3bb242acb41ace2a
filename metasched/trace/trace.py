"""`Trace`: a tuple of instructions, with the decisions kept apart and keyed by instruction.

Traces are values: every method returns a new one. `json` and `python` hold the text forms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from metasched.errors import TraceError
from metasched.trace.instruction import Decision, Instruction, Ref, has_effect, refs_in


@dataclass(frozen=True, slots=True)
class Trace:
    """The steps of a schedule program and the decisions at its sampling steps.

    Attributes:
        instructions: the steps in order.
        decisions: by index of the sampling instruction.
    """

    instructions: tuple[Instruction, ...] = ()
    decisions: Mapping[int, Decision] = field(default_factory=lambda: dict[int, Decision]())

    def with_decision(self, index: int, decision: Decision) -> Trace:
        """The same steps with one decision changed.

        Raises:
            TraceError: there is no sampling instruction of that index.
        """
        step = self.instructions[index] if 0 <= index < len(self.instructions) else None
        if step is None or not step.kind.startswith("sample_"):
            found = "there is none" if step is None else f"it is {step.kind}"
            raise TraceError(f"instruction {index} should be a sampling one, but {found}")
        return Trace(self.instructions, {**self.decisions, index: decision})

    def simplified(self) -> Trace:
        """Without lookups and samplings of which no output is used; decisions follow their steps.

        >>> lookup = Instruction("get_block", ("c",), (), (Ref("block", "b0"),))
        >>> Trace((lookup,)).simplified()
        Trace(instructions=(), decisions={})
        """
        used: set[Ref] = set()
        kept: list[int] = []
        for index in reversed(range(len(self.instructions))):
            step = self.instructions[index]
            if has_effect(step.kind) or not used.isdisjoint(step.outputs):
                kept.append(index)
                used.update(ref for value in step.inputs for ref in refs_in(value))
        return self._only(kept[::-1])

    def without_postproc(self) -> Trace:
        """The steps before ``enter_postproc``."""
        kinds = [step.kind for step in self.instructions]
        end = kinds.index("enter_postproc") if "enter_postproc" in kinds else len(kinds)
        return self._only(range(end))

    def _only(self, kept: list[int] | range) -> Trace:
        decisions = {
            new: self.decisions[old] for new, old in enumerate(kept) if old in self.decisions
        }
        return Trace(tuple(self.instructions[index] for index in kept), decisions)

    def to_json(self) -> str:
        """The trace as one line of versioned JSON."""
        from metasched.trace.json import to_json

        return to_json(self)

    @staticmethod
    def from_json(text: str) -> Trace:
        """Read a trace from JSON.

        Raises:
            TraceError: the text is no trace, or one of a later version.
        """
        from metasched.trace.json import from_json

        return from_json(text)

    def as_python(self) -> str:
        """Python text of a function ``apply(sch)`` that repeats the steps and decisions."""
        from metasched.trace.python import as_python

        return as_python(self)

    def __str__(self) -> str:
        return self.as_python()
