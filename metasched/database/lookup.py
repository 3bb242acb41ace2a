"""What a compiler asks a database: the best schedule for a program, and how far to look for one.

Read `equality` for when two programs count as one.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metasched.database.database import AbstractDatabase
from metasched.database.equality import Equality, key_of
from metasched.database.open import open_database
from metasched.database.records import TuningRecord
from metasched.database.spelling import parsed, scheduled_as
from metasched.errors import DatabaseError, ScheduleError, TraceError
from metasched.target import Target

if TYPE_CHECKING:
    from metasched.ir.stmt import Program

_CURRENT: ContextVar[AbstractDatabase | None] = ContextVar("metasched_database", default=None)


@dataclass(frozen=True, slots=True)
class Applied:
    """A program with the schedule of a record.

    Attributes:
        program: the scheduled program, with the parameters of the one asked for.
        record: where the schedule is from. Its time and evidence are of the program asked for
            only where ``equality`` is structural.
        equality: how the two programs are equal.
        dropped: steps of the record's trace that did not fit, each with the reason.
        trace: JSON of the trace, where it is not the record's own.
    """

    program: Program
    record: TuningRecord
    equality: Equality = Equality.STRUCTURAL
    dropped: tuple[str, ...] = ()
    trace: str | None = None


def apply(
    database: AbstractDatabase,
    program: Program,
    target: Target,
    equality: Equality = Equality.STRUCTURAL,
) -> Applied | None:
    """Return a program with the best schedule on record for it, ``None`` where there is none.

    Args:
        database: where to look.
        program: an unscheduled program.
        target: what it will run on; a lookup honours it under every equality.
        equality: how far to look. The stricter equalities are tried first. A schedule of another
            program keeps this one's meaning, as every schedule does, but was never timed on it.
    """
    record = database.best(program, target)
    if record is not None:
        return Applied(scheduled_as(record, program), record)
    order = list(Equality)
    for looser in order[1 : order.index(equality) + 1]:
        found = next(_alike(database, program, target, looser), None)
        if found is not None:
            return found
    return None


@contextmanager
def using(database: str | AbstractDatabase) -> Generator[AbstractDatabase]:
    """Make a database the one that `metasched.compile` looks into where none is given.

    A URL is opened, and closed at the end. The choice holds for this thread or task only.
    """
    opened = open_database(database)
    token = _CURRENT.set(opened)
    try:
        yield opened
    finally:
        _CURRENT.reset(token)
        if opened is not database:
            opened.close()


def current() -> AbstractDatabase | None:
    """Return the database of the innermost `using`, ``None`` outside of any."""
    return _CURRENT.get()


def _alike(
    database: AbstractDatabase, program: Program, target: Target, equality: Equality
) -> Iterator[Applied]:
    """Yield what the records of programs that are equal in a looser sense come to, best first."""
    from metasched.database.transfer import (
        onto_anchor,
        onto_same_structure,
        onto_shape,
        shape_distance,
    )

    key = key_of(program, equality)
    if key is None:
        return
    found = (database.best(w.hash, target) for w in database.workloads_like(equality, key))
    records = [record for record in found if record is not None]
    if equality is Equality.ANY_SHAPE:
        records.sort(key=lambda record: shape_distance(program, parsed(record.workload.text)))
    else:
        records.sort(key=lambda record: record.time_s or 0.0)
    for record in records:
        original = parsed(record.workload.text)
        # A key read from a file proves nothing.
        if original is None or key_of(original, equality) != key:
            continue
        try:
            if equality is Equality.IGNORE_CONSTANTS:
                yield Applied(onto_same_structure(record, original, program), record, equality)
            elif equality is Equality.ANY_SHAPE:
                schedule = onto_shape(record, original, program, target)
                trace = schedule.trace.to_json()
                yield Applied(schedule.program, record, equality, trace=trace)
            else:
                scheduled, dropped = onto_anchor(record, original, program)
                yield Applied(scheduled, record, equality, dropped)
        except (TraceError, ScheduleError, DatabaseError):
            continue
