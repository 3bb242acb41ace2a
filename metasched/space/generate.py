"""Sketches from rules: each rule visits every block in post order and may branch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from metasched.errors import ScheduleError
from metasched.ir.stmt import Program
from metasched.schedule.samplers.site import Draw
from metasched.schedule.schedule import Schedule
from metasched.space.patterns import post_order
from metasched.space.rules.rule import AbstractRule
from metasched.target import Target


def drafts(
    program: Program,
    rules: Sequence[AbstractRule],
    target: Target,
    refusals: Counter[tuple[str, str, str]] | None = None,
) -> list[Schedule]:
    """Apply rules to a program, rule by rule, each block by block in post order.

    A rule whose primitive is refused leaves the block alone.

    Args:
        program: the program.
        rules: in order of application.
        target: the machine.
        refusals: counts (rule, block, reason) where a rule left a block alone.

    Returns:
        one schedule for each sketch, with placeholder decisions.
    """
    found = [Schedule(program, choices=Draw(np.random.default_rng(0)))]
    counted = Counter[tuple[str, str, str]]() if refusals is None else refusals
    for rule in rules:
        found = [
            done
            for draft in found
            for done in _visit(rule, draft, post_order(draft.state), target, counted)
        ]
    return found


def _visit(
    rule: AbstractRule,
    draft: Schedule,
    names: Sequence[str],
    target: Target,
    refusals: Counter[tuple[str, str, str]],
) -> list[Schedule]:
    for position, name in enumerate(names):
        block = draft.state.tree.blocks.get(name)
        if block is None:
            continue
        reason = rule.refusal(draft.state, block, target)
        if reason is not None:
            refusals[rule.name, name, reason] += 1
            continue
        branch = draft.copy()
        try:
            results = rule.apply(branch, branch.get_block(name), target)
        except ScheduleError as error:
            refusals[rule.name, name, str(error).splitlines()[0]] += 1
            continue
        rest = names[position + 1 :]
        return [done for r in results for done in _visit(rule, r, rest, target, refusals)]
    return [draft]
