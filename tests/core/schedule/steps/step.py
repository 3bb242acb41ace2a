"""What a step is, how one is tried, and pickers of what the program offers."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from metasched.errors import ScheduleError
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref

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
        AssertionError: it failed without a reason, or a refusal had an effect. A note on it shows
            the call.
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
        raise AssertionError(f"{shown(proposal)} is no schedule error but {error!r}") from error
    else:
        assert sch.trace.instructions[-1].kind == step.name, f"{shown(proposal)} is another step"
        return True
    assert reason.startswith(f"{step.name}: "), f"{shown(proposal)} is refused with '{reason}'"
    assert sch.state is state, f"{shown(proposal)} was refused and changed the program"
    assert sch.trace == trace, f"{shown(proposal)} was refused and is in the trace"
    return False


def shown(proposal: Proposal) -> str:
    """The call as it stands in the Python text of a trace."""
    arguments = [_shown(value) for value in proposal.args]
    arguments += [f"{key}={_shown(value)}" for key, value in proposal.keywords.items()]
    return f"sch.{proposal.func.__name__}({', '.join(arguments)})"


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_shown(item) for item in value)}]"
    return str(value) if isinstance(value, Ref) else repr(value)


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
