from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metasched import ops
from metasched.ir.stmt import Block
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.generate import Tally, draft_all, drafts
from metasched.space.rules import AbstractRule
from metasched.target import Target
from metasched.trace.instruction import Ref
from tests.core.space.outline import TARGET

PROGRAM = ops.softmax(m=2, n=4)


@dataclass(frozen=True, slots=True)
class Twice(AbstractRule):
    """Branch on one block: a note of 0, and a note of 1."""

    name: ClassVar[str] = "twice"
    block: str

    def refusal(self, state: State, block: Block, target: Target) -> str | None:
        return None if block.name == self.block else "another block"

    def apply(self, schedule: Schedule, block: Ref, target: Target) -> list[Schedule]:
        other = schedule.copy()
        schedule.annotate(block, "note", 0)
        other.annotate(block, "note", 1)
        return [schedule, other]


@dataclass(frozen=True, slots=True)
class InlineExp(AbstractRule):
    name: ClassVar[str] = "inline_exp"

    def refusal(self, state: State, block: Block, target: Target) -> str | None:
        return None if block.name == "e" else "another block"

    def apply(self, schedule: Schedule, block: Ref, target: Target) -> list[Schedule]:
        schedule.compute_inline(block)
        return [schedule]


def notes(schedule: Schedule) -> list[tuple[str, object]]:
    return [
        (b.name, b.annotations[0][1]) for b in schedule.state.tree.blocks.values() if b.annotations
    ]


def test_rules_branch_in_order() -> None:
    found = drafts(PROGRAM, (Twice("o"), Twice("s")), TARGET)
    assert [sorted(notes(s)) for s in found] == [
        [("o", 0), ("s", 0)],
        [("o", 0), ("s", 1)],
        [("o", 1), ("s", 0)],
        [("o", 1), ("s", 1)],
    ]


def test_blocks_left_alone_leave_no_step_in_the_trace() -> None:
    (draft,) = drafts(PROGRAM, (InlineExp(),), TARGET)
    assert [s.kind for s in draft.trace.instructions] == ["get_block", "compute_inline"]


def test_later_rules_see_what_earlier_ones_left() -> None:
    tally = Tally()
    draft_all(PROGRAM, (InlineExp(), Twice("e")), TARGET, tally)
    seen = {block for rule, block, _ in tally.refused if rule == "twice"}
    assert seen == {"o", "s", "mx", "root"}
    assert tally.applied == {"inline_exp": 1}


def test_each_step_is_laid_to_the_rule_that_took_it() -> None:
    found = draft_all(PROGRAM, (InlineExp(), Twice("o")), TARGET, Tally())
    for draft in found:
        assert len(draft.origins) == len(draft.schedule.trace.instructions)
        assert draft.origins[:2] == ("inline_exp", "inline_exp")
        assert set(draft.origins[2:]) == {"twice"}


def test_no_rules_leave_the_program() -> None:
    (draft,) = drafts(PROGRAM, (), TARGET)
    assert draft.program == PROGRAM
