"""Sketches: schedules with open choices, from the rules, functions and traces of a space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metasched.errors import ScheduleError
from metasched.ir.stmt import Program
from metasched.schedule.samplers.site import Draw
from metasched.schedule.schedule import Schedule
from metasched.space.fixed import fix
from metasched.space.generate import Draft, Tally, draft_all
from metasched.space.postprocs import AbstractPostproc
from metasched.space.space import ScheduleFunction, Space
from metasched.target import Target
from metasched.trace.trace import Trace

_DRAWS = 16
"""How often a schedule function is run to find the structures that it can take."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """One structure that a space offers for a program.

    Attributes:
        trace: its steps, with placeholder decisions.
        origins: per step the rule, or "function" or "fixed", that took it.
        postprocs: what finishes its candidates.
    """

    trace: Trace
    origins: tuple[str, ...]
    postprocs: tuple[AbstractPostproc, ...]


def find_sketches(
    space: Space, program: Program, target: Target, tally: Tally
) -> tuple[Sketch, ...]:
    """The sketches of a space for a program, each once; ``tally`` counts what its rules did."""
    found = [
        Sketch(draft.schedule.trace, draft.origins, member.postprocs_on(target))
        for member in space.members
        for draft in _drafts(member, program, target, tally)
    ]
    return tuple({(s.trace.instructions, s.postprocs): s for s in found}.values())


def draw_function(
    space: Space, program: Program, target: Target, rng: np.random.Generator
) -> Sketch | None:
    """One run of one schedule function of the space; None where it has none.

    It may come to a sketch that `find_sketches` has not met.
    """
    choices = [(m, function) for m in space.members for function in m.functions]
    if not choices:
        return None
    member, function = choices[int(rng.integers(len(choices)))]
    schedule = Schedule(program, choices=Draw(rng))
    function(schedule)
    (draft,) = _named([schedule], "function")
    return Sketch(schedule.trace, draft.origins, member.postprocs_on(target))


def _drafts(member: Space, program: Program, target: Target, tally: Tally) -> list[Draft]:
    ruled = draft_all(program, member.rules, target, tally) if member.rules else []
    called = [run for function in member.functions for run in _runs(function, program)]
    fixed = [fix(trace, program) for trace in member.fixed]
    return [*ruled, *_named(called, "function"), *_named(fixed, "fixed")]


def _named(schedules: list[Schedule], origin: str) -> list[Draft]:
    return [Draft(s, (origin,) * len(s.trace.instructions)) for s in schedules]


def _runs(function: ScheduleFunction, program: Program) -> list[Schedule]:
    """Schedules of several draws, since what a function does may depend on what it drew.

    Raises:
        ScheduleError: a step was refused at every draw.
    """
    found: list[Schedule] = []
    refused: ScheduleError | None = None
    for seed in range(_DRAWS):
        schedule = Schedule(program, choices=Draw(np.random.default_rng(seed)))
        try:
            function(schedule)
        except ScheduleError as error:
            refused = error
        else:
            found.append(schedule)
        if not schedule.sites:
            break
    if refused is not None and not found:
        raise refused
    return found
