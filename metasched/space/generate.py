"""Sketches from rules: each rule visits every block in post order and may branch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from metasched.errors import ScheduleError
from metasched.ir.stmt import Block, Program
from metasched.schedule.samplers.site import Draw
from metasched.schedule.schedule import Schedule
from metasched.space.patterns import post_order
from metasched.space.rules.apply_custom_rule import ApplyCustomRule
from metasched.space.rules.rule import AbstractRule
from metasched.target import Target


@dataclass(frozen=True, slots=True)
class Draft:
    """A schedule with placeholder decisions.

    Attributes:
        schedule: the schedule; its trace is the sketch.
        origins: per instruction the name of the rule that took the step.
    """

    schedule: Schedule
    origins: tuple[str, ...] = ()


@dataclass(slots=True)
class Tally:
    """How often rules visited blocks, and why they left blocks alone.

    Attributes:
        applied: visits that changed a draft, by rule.
        refused: visits that did not, by rule, block and reason.
    """

    applied: Counter[str] = field(default_factory=Counter[str])
    refused: Counter[tuple[str, str, str]] = field(default_factory=Counter[tuple[str, str, str]])


def drafts(program: Program, rules: Sequence[AbstractRule], target: Target) -> list[Schedule]:
    """The schedules of `draft_all`."""
    return [draft.schedule for draft in draft_all(program, rules, target, Tally())]


def draft_all(
    program: Program, rules: Sequence[AbstractRule], target: Target, tally: Tally
) -> list[Draft]:
    """Apply rules to a program, rule by rule, each block by block in post order.

    A rule whose primitive is refused leaves the block alone, and so does every other rule where
    `ApplyCustomRule` has one for the block.

    Args:
        program: the program.
        rules: in order of application.
        target: the machine.
        tally: counts what rules did.

    Returns:
        one draft for each sketch, with placeholder decisions.
    """
    found = [Draft(Schedule(program, choices=Draw(np.random.default_rng(0))))]
    visit = _Visit(target, tally, tuple(r for r in rules if isinstance(r, ApplyCustomRule)))
    for rule in rules:
        found = [
            done for draft in found for done in visit(rule, draft, post_order(draft.schedule.state))
        ]
    return found


@dataclass(frozen=True, slots=True)
class _Visit:
    target: Target
    tally: Tally
    custom: tuple[ApplyCustomRule, ...]

    def __call__(self, rule: AbstractRule, draft: Draft, names: Sequence[str]) -> list[Draft]:
        """What a rule makes of a draft when it visits the named blocks in turn."""
        for position, name in enumerate(names):
            results = self._at(rule, draft, name)
            if results is not None:
                rest = names[position + 1 :]
                after = (_after(draft, result, rule.name) for result in results)
                return [done for next_ in after for done in self(rule, next_, rest)]
        return [draft]

    def _at(self, rule: AbstractRule, draft: Draft, name: str) -> Iterable[Schedule] | None:
        """The results at one block, None where the rule leaves it alone."""
        block = draft.schedule.state.tree.blocks.get(name)
        if block is None:
            return None
        reason = self._taken(rule, block) or rule.refusal(draft.schedule.state, block, self.target)
        if reason is None:
            branch = draft.schedule.copy()
            try:
                results = rule.apply(branch, branch.get_block(name), self.target)
            except ScheduleError as error:
                reason = str(error).splitlines()[0]
            else:
                self.tally.applied[rule.name] += 1
                return results
        self.tally.refused[rule.name, name, reason] += 1
        return None

    def _taken(self, rule: AbstractRule, block: Block) -> str | None:
        """Why a block is none of a rule's business: it has a rule of its own."""
        for custom in self.custom:
            own = None if rule == custom else custom.rule_of(block)
            if own is not None:
                return f"has a rule of its own, '{own.name}'"
        return None


def _after(before: Draft, result: Schedule, rule: str) -> Draft:
    """The draft that a rule made; the one before where it only looked the block up."""
    steps = len(result.trace.instructions) - len(before.origins)
    return before if steps == 1 else Draft(result, (*before.origins, *(rule,) * steps))
