"""Replaying a trace on a program: the way from a recorded schedule back to a `Schedule`.

A replay is exact: with the trace's own decisions the program has the same text as when the trace
was recorded. Traces may come from files, so every step is checked before it is applied.
"""

from __future__ import annotations

from collections.abc import Sequence

from metasched.errors import TraceError, suggest
from metasched.ir.stmt import Program
from metasched.schedule.arguments import check_arguments, known_kind
from metasched.schedule.primitives import PRIMITIVES
from metasched.schedule.samplers import SAMPLERS
from metasched.schedule.samplers.site import AbstractChoices, Replay
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Instruction
from metasched.trace.trace import Trace


def replay(trace: Trace, program: Program, choices: AbstractChoices | None = None) -> Schedule:
    """Apply the steps of a trace to a program.

    Args:
        trace: the steps.
        program: the program that the trace was recorded on, or one like it.
        choices: where decisions come from; the trace's own by default.

    Raises:
        TraceError: a step is unknown or malformed, or a decision is missing or not legal here.
        ScheduleError: a primitive refused its step.

    >>> from metasched import ops
    >>> sch = Schedule(ops.matmul(m=8, n=8, k=8))
    >>> _ = sch.fuse(*sch.get_loops(sch.get_block("c"))[:2])
    >>> replay(sch.trace, ops.matmul(m=8, n=8, k=8)).program == sch.program
    True
    """
    schedule = Schedule(program, choices=choices or Replay(dict(trace.decisions)))
    resume(schedule, trace.instructions)
    return schedule


def resume(schedule: Schedule, steps: Sequence[Instruction], first: int = 0) -> None:
    """Apply steps of a trace to a schedule that has its steps before ``first`` already.

    Raises:
        TraceError: a step is unknown or malformed, or a decision is missing or not legal here.
        ScheduleError: a primitive refused its step.
    """
    for index, step in enumerate(steps[first:], first):
        if not known_kind(step.kind):
            hint = suggest(step.kind, [*PRIMITIVES, *SAMPLERS])
            raise TraceError(f"instruction {index}: unknown primitive '{step.kind}'{hint}")
        try:
            check_arguments(step, schedule.resolve(step))
        except TraceError as error:
            raise TraceError(f"instruction {index}: {error}") from None
        schedule.run(step)
