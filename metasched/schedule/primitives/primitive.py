"""What a primitive is, and the registry of all of them.

A primitive is a pure function on a `State`: it checks its preconditions, and returns a new state
and its outputs (names of loops or blocks). `Schedule` resolves handles before the call and records
the instruction after it. Read `split.py` as the example.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from metasched.errors import ScheduleError
from metasched.ir.printer import print_program
from metasched.registry import Registry
from metasched.schedule.state import State
from metasched.trace.instruction import RefKind


@dataclass(frozen=True, slots=True)
class Primitive:
    """A schedule primitive.

    Args:
        name: name in traces and of the `Schedule` method.
        apply: ``(state, *inputs, **attrs) -> (state, names of outputs)``; inputs are names of loops
            and blocks, or integer expressions.
        output: what the outputs are handles to; None when there are none.
        many: whether the method returns a tuple of handles (else the single handle).
    """

    name: str
    apply: Callable[..., tuple[State, tuple[Any, ...]]]
    output: RefKind | None = None
    many: bool = False


PRIMITIVES = Registry[Primitive]("primitive")


def refused(
    state: State, primitive: str, rule: str, given: str, *, at: str, hint: str = ""
) -> ScheduleError:
    """The error of a precondition that does not hold.

    Args:
        state: the state in which the primitive was refused.
        primitive: its name.
        rule: what is expected, worded as in the *Requires* list of the primitive.
        given: what was found instead.
        at: the loop or block to mark in the printed program.
        hint: the usual remedy.
    """
    lines = [f"{primitive}: expected {rule}, got {given}"]
    lines.append(print_program(state.program, mark=at))
    if hint:
        lines.append(f"hint: {hint}")
    return ScheduleError("\n".join(lines))
