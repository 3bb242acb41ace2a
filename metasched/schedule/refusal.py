"""The error of a precondition that does not hold, in one form for every primitive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metasched.errors import ScheduleError
from metasched.ir.printer import print_program
from metasched.schedule.remedies import remedy

if TYPE_CHECKING:
    from metasched.schedule.state import State


def refused(
    state: State, primitive: str, rule: str, given: str, *, at: str | None, hint: str = ""
) -> ScheduleError:
    """The error of a precondition that does not hold.

    Args:
        state: the state in which the primitive was refused.
        primitive: its name.
        rule: what is expected, worded as in the *Requires* list of the primitive.
        given: what was found instead.
        at: the loop, block or buffer to mark in the printed program; None where there is no place.
        hint: the usual remedy; else that of `metasched.schedule.remedies`.
    """
    lines = [f"{primitive}: expected {rule}, got {given}", print_program(state.program, mark=at)]
    if told := hint or remedy(rule):
        lines.append(f"hint: {told}")
    return ScheduleError("\n".join(lines))
