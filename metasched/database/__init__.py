"""Tuning database: records of every measured candidate. Read `records`, then `database`."""

from metasched.database.database import AbstractDatabase
from metasched.database.equality import Equality
from metasched.database.lookup import Applied, apply, current, using
from metasched.database.memory import MemoryDatabase
from metasched.database.open import Database, open_database
from metasched.database.records import (
    JobRecord,
    JobStatus,
    Stats,
    Trust,
    TuningRecord,
    Workload,
)
from metasched.database.snapshot import Snapshot, write_snapshot
from metasched.database.union import OrderedUnion, Union

__all__ = [
    "AbstractDatabase",
    "Applied",
    "Database",
    "Equality",
    "JobRecord",
    "JobStatus",
    "MemoryDatabase",
    "OrderedUnion",
    "Snapshot",
    "Stats",
    "Trust",
    "TuningRecord",
    "Union",
    "Workload",
    "apply",
    "current",
    "open_database",
    "using",
    "write_snapshot",
]
