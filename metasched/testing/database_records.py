"""Small made-up records for tests of databases; read `database_contract` next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from metasched.database import TuningRecord, Workload, open_database
from metasched.measure.records import Status
from metasched.target import Target

MATMUL = Workload(
    "a" * 64, "matmul", "def matmul(a, b, c):\n    for i in range(512):\n        pass"
)
SOFTMAX = Workload("b" * 64, "softmax", "def softmax(a, b):\n    pass")
EVIDENCE = {"reference_hash": "r" * 8, "seed": 0, "tolerance": 1e-4, "max_error": 1e-6}
_START = datetime(2024, 5, 17, 12, 30, 1, 250_001, tzinfo=UTC)


def make_target(**changes: Any) -> Target:
    """Return the host's CPU as a target, with fields of its dictionary replaced."""
    return Target.from_dict({**Target("cpu").to_dict(), **changes})


def make_record(index: int = 0, **changes: Any) -> TuningRecord:
    """Return a servable record of candidate ``index`` that took ``index + 1`` milliseconds."""
    values: dict[str, Any] = {
        "workload": MATMUL,
        "target": make_target(),
        "trace": f'{{"version":1,"instructions":[],"decisions":[{index}]}}',
        "program_hash": f"program-{index}",
        "status": Status.OK,
        "samples_s": ((index + 1) * 1e-3,),
        "evidence": EVIDENCE,
        "timers": {"queue": 0.25, "build": 0.1, "load": 0.0, "check": 1 / 3, "run": 0.5},
        "source_hash": f"source-{index}",
        "created_at": _START + timedelta(seconds=index),
    }
    return TuningRecord(**(values | changes))


def make_failure(index: int, status: Status, **changes: Any) -> TuningRecord:
    """Return a record of a candidate that failed before it was timed."""
    failed: dict[str, Any] = {
        "status": status,
        "message": f"{status} of {index}",
        "samples_s": (),
        "evidence": {},
    }
    return make_record(index, **(failed | changes))


def write_many(url: str, writer: int, own: int, shared: int) -> None:
    """Write records one by one, as one of several processes does.

    Args:
        url: The database, opened here.
        writer: Which of the processes this is.
        own: How many candidates to write that no other process writes.
        shared: How many of ``own`` also gain a sample of this writer under a common name.
    """
    with open_database(url) as database:
        for index in range(own):
            database.put(make_record(index, program_hash=f"own-{writer}-{index}"))
            if index < shared:
                sample_s = 1.0 + writer
                record = make_record(program_hash=f"shared-{index}", samples_s=(sample_s,))
                database.put(record)
