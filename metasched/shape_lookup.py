"""What is compiled for a size of a family: its record, a dispatch tree, a near record, the default.

Read `metasched.shapes` first.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from metasched.compiling import Kernel, kernel_of
from metasched.database import AbstractDatabase, Equality
from metasched.errors import DatabaseError, ScheduleError, TraceError
from metasched.ir.stmt import Program
from metasched.schedule.replay import replay
from metasched.shapes import Family, load_dispatch, record_of
from metasched.space.default_schedule import default_schedule
from metasched.target import Target
from metasched.trace.trace import Trace
from metasched.trial import Trials


class How(StrEnum):
    """Where a kernel's schedule is from."""

    RECORD = "record"
    DISPATCH = "dispatch"
    NEAREST = "nearest"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Answer:
    """A kernel, where its schedule is from, and whether it was measured for this size."""

    kernel: Kernel
    how: How
    is_measured: bool = False


def compile_size(
    make: Family,
    size: int,
    database: AbstractDatabase,
    target: str | Target = "cpu",
    trials: Trials | None = None,
) -> Answer:
    """Compile the program of a size, with the best schedule that is known.

    That is the one on record for it; else the one that the dispatch tree of the family picks; else
    the one of the nearest size on record; else the default. Other sizes' schedules are fitted,
    and every step checks that it keeps the program's meaning.

    Args:
        make: the family.
        size: may never have been seen.
        database: where to look; measurements are written to it.
        target: what to compile for.
        trials: allows measuring: a schedule that was fitted is checked and timed against the
            default first, the faster one is used, and next time there is a record.
    """
    goal, program = Target.parse(target), make(size)
    exact = database.apply(program, goal)
    if exact is not None:
        kernel = kernel_of(program, exact.program, goal, exact.record, exact.equality)
        return Answer(kernel, How.RECORD, True)
    how, trace = _borrowed(make, size, database, goal)
    if trials is not None and trace is not None:
        faster = _measured(program, trace, database, goal, trials)
        how = how if faster == trace else How.DEFAULT
        return Answer(_kernel(program, faster, goal), how, True)
    return Answer(_kernel(program, trace, goal), how)


def _borrowed(
    make: Family, size: int, database: AbstractDatabase, target: Target
) -> tuple[How, str | None]:
    dispatch = load_dispatch(make, target, database)
    if dispatch is not None:
        try:
            return How.DISPATCH, dispatch.schedule(make, size, target).trace.to_json()
        except (TraceError, ScheduleError, DatabaseError):
            pass
    near = database.apply(make(size), target, Equality.ANY_SHAPE)
    if near is not None and near.trace is not None and near.equality is Equality.ANY_SHAPE:
        return How.NEAREST, near.trace
    return How.DEFAULT, None


def _measured(
    program: Program, trace: str, database: AbstractDatabase, target: Target, trials: Trials
) -> str | None:
    """Return the faster of a schedule and the default one, None for the latter."""
    tried = trials.of(program, [trace, None])
    records = [
        record_of(program, text or "", one, trials, target)
        for text, one in zip((trace, None), tried, strict=True)
    ]
    database.put_many(records)
    times = [r.time_s if r.is_servable and r.time_s is not None else float("inf") for r in records]
    return trace if times[0] < times[1] else None


def _kernel(program: Program, trace: str | None, target: Target) -> Kernel:
    if trace is None:
        return kernel_of(program, default_schedule(program, target).program, target)
    return kernel_of(program, replay(Trace.from_json(trace), program).program, target)
