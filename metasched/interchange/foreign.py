"""Reads a file of another tuner, whichever it is, and puts what carries over into a database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from metasched.database import AbstractDatabase
from metasched.errors import UsageError, suggest
from metasched.interchange.kernel_tuner import read_cache, read_t4
from metasched.interchange.report import ImportReport
from metasched.interchange.tvm import read_tvm
from metasched.ir.stmt import Program
from metasched.target import Target

FORMATS: Final = ("tvm", "t4", "kernel-tuner")


def import_foreign(
    database: AbstractDatabase,
    path: str | Path,
    format: str,  # noqa: A002
    *,
    programs: Sequence[Program] = (),
    target: str | Target = "cpu",
) -> ImportReport:
    """Import a file of another tuner; nothing is written before all of it is read.

    Nothing that is imported is served before `metasched.verifying` has built, checked and timed it.

    Args:
        database: what is written to.
        path: the file; for TVM the folder with its two files, or the file of records.
        format: ``"tvm"`` (MetaSchedule's JSON database), ``"t4"`` or ``"kernel-tuner"`` (a cache).
        programs: for TVM, the programs that its records may be of.
        target: for TVM, what the records are for.

    Raises:
        UsageError: The format is unknown, or programs are missing.
        DatabaseError: The file cannot be read or is of another format.
    """
    path = Path(path)
    match format:
        case "tvm":
            report = read_tvm(path, programs, Target.parse(target))
        case "t4":
            report = read_t4(path)
        case "kernel-tuner":
            report = read_cache(path)
        case _:
            raise UsageError(f"unknown format '{format}'{suggest(format, FORMATS)}")
    database.put_many(report.records)
    return report
