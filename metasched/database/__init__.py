"""Tuning database: records of every measured candidate. Read `records`, then `database`."""

from metasched.database.database import AbstractDatabase
from metasched.database.memory import MemoryDatabase
from metasched.database.open import Database, open_database
from metasched.database.records import (
    JobRecord,
    JobStatus,
    Stats,
    TuningRecord,
    Workload,
)

__all__ = [
    "AbstractDatabase",
    "Database",
    "JobRecord",
    "JobStatus",
    "MemoryDatabase",
    "Stats",
    "TuningRecord",
    "Workload",
    "open_database",
]
