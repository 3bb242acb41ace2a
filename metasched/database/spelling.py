"""Programs of one canonical form in different spellings, and records that were tuned on another.

Traces name blocks, so a record replays on the program it was tuned on. That program comes with the
record as text; what is served is its schedule, with the parameters in the order that is asked for.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import TYPE_CHECKING

from metasched.errors import DatabaseError, MetaschedError

if TYPE_CHECKING:
    from metasched.database.records import TuningRecord
    from metasched.ir.stmt import Program


def scheduled_as(record: TuningRecord, program: Program) -> Program:
    """Return the schedule of a record for a program of the same workload.

    Raises:
        DatabaseError: The record is of another program.
        TraceError: Its trace is malformed.
        ScheduleError: Its trace does not fit its program.
    """
    from metasched.ir.canonical import as_asked, canonical_hash
    from metasched.schedule.replay import replay
    from metasched.trace.trace import Trace

    original = program if record.workload.text == str(program) else parsed(record.workload.text)
    if original is None or canonical_hash(original) != canonical_hash(program):
        raise DatabaseError(
            f"the record of '{record.workload.name}' ({record.program_hash[:12]}) holds another"
            f" program than '{program.name}'; it is damaged, remove it with `metasched db prune`"
        )
    scheduled = replay(Trace.from_json(record.trace), original).program
    return scheduled if original is program else as_asked(scheduled, original, program)


def hash_of_text(text: str) -> str | None:
    """Return the `Workload.hash` of a printed program, ``None`` where the text is none."""
    from metasched.ir.canonical import canonical_hash

    program = parsed(text)
    return None if program is None else canonical_hash(program)


@lru_cache(maxsize=64)
def parsed(text: str) -> Program | None:
    """Return the program of a text, ``None`` where it is none."""
    from metasched.ir.parser import parse

    with warnings.catch_warnings():
        # Text from anywhere may make Python's own parser warn before it is refused.
        warnings.simplefilter("ignore", SyntaxWarning)
        try:
            return parse(text)
        except MetaschedError:
            return None
