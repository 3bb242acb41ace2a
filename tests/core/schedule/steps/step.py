"""What a step is, how one is tried, and pickers of what the program offers."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from metasched.errors import ScheduleError
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Instruction, Ref, has_effect
from metasched.trace.python import as_python
from metasched.trace.trace import Trace

Proposal = partial[Any]
"""A method of the schedule and its arguments, not yet called."""


@dataclass(frozen=True, slots=True)
class Step:
    """Random arguments for one primitive.

    Args:
        name: the primitive, which is the method of the schedule that a proposal calls.
        draw: ``(rng, schedule) -> proposal``; it may apply other primitives first, and raises
            `ScheduleError` where there is nothing to try.
        weight: how often it is picked compared to others; more for one that is often refused.
    """

    name: str
    draw: Callable[[random.Random, Schedule], Proposal]
    weight: int = 2


def attempt(step: Step, rng: random.Random, sch: Schedule) -> bool:
    """Try a step; whether it was applied.

    Raises:
        AssertionError: a refusal had no reason, or an effect.
        Exception: it was not refused but failed; a note on it shows the call.
    """
    try:
        proposal = step.draw(rng, sch)
    except ScheduleError:
        return False
    state, trace = sch.state, sch.trace
    try:
        proposal()
    except ScheduleError as error:
        reason = str(error)
    except Exception as error:
        error.add_note(case_text(sch, proposal))
        raise
    else:
        assert sch.trace.instructions[-1].kind == step.name, f"{step.name} calls another primitive"
        return True
    assert reason.startswith(f"{step.name}: "), f"{step.name} is refused with '{reason}'"
    assert sch.state is state, f"{step.name} was refused and changed the program"
    assert sch.trace == trace, f"{step.name} was refused and is in the trace"
    return False


def case_text(sch: Schedule, proposal: Proposal | None = None) -> str:
    """The program, and the steps that failed as Python text: what the corpus keeps."""
    steps, decisions = sch.trace.instructions, sch.trace.decisions
    if proposal is None:
        return f"{sch.original}\n{as_python(sch.trace.simplified())}\n"
    attrs = tuple((key, _frozen(value)) for key, value in proposal.keywords.items())
    inputs = tuple(_frozen(value) for value in proposal.args)
    last = Instruction(proposal.func.__name__, inputs, attrs, ())
    trace = Trace((*steps, last), decisions)
    trace = trace.simplified() if has_effect(last.kind) else trace
    return f"{sch.original}\n{as_python(trace)}\n"


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def a_block(rng: random.Random, sch: Schedule, *, root: bool = False) -> Ref:
    """Some block, nested ones too; the root block only on request."""
    names = list(sch.state.tree.blocks)
    return sch.get_block(rng.choice(names if root or len(names) == 1 else names[1:]))


def a_loop(rng: random.Random, sch: Schedule, block: Ref | None = None) -> Ref:
    """Some loop around some block, or around the given one."""
    return rng.choice(loops_of(sch, block or a_block(rng, sch)))


def loops_of(sch: Schedule, block: Ref, at_least: int = 1) -> tuple[Ref, ...]:
    """The loops around a block.

    Raises:
        ScheduleError: they are too few.
    """
    loops = sch.get_loops(block)
    if len(loops) < at_least:
        raise ScheduleError(f"expected {at_least} loops around {block}, got {len(loops)}")
    return loops


def extent(sch: Schedule, loop: Ref) -> int:
    """The extent of a loop.

    Raises:
        ScheduleError: it is no constant.
    """
    value = getattr(sch.get(loop).extent, "value", None)
    if value is None:
        raise ScheduleError(f"expected a constant extent of {loop}")
    return int(value)
