"""Imports the JSON database of TVM's MetaSchedule.

A record there is a trace, times and a target, and refers to a program in a file beside, which
`tvm_program` reads. Traces carry over as far as their primitives do: each is applied, step by step
and checked, to its program, or to one that the caller names. Times do not: they are of TVM's
kernels, not of the ones built here, so they stay as a note, and a record is served once it was
verified. `tvm_trace` knows the primitives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from metasched.database.codec import MAX_LINE_BYTES
from metasched.database.records import TuningRecord, Workload
from metasched.errors import DatabaseError, MetaschedError, UsageError
from metasched.interchange.report import (
    ImportReport,
    Malformed,
    get_list,
    get_seconds,
    get_text,
    parse_json,
)
from metasched.interchange.tvm_program import read_program
from metasched.interchange.tvm_trace import apply_trace
from metasched.ir.expr import int_value
from metasched.ir.hash import structural_hash
from metasched.ir.stmt import Program
from metasched.measure.records import Status
from metasched.target import Target

_RECORDS: Final = "database_tuning_record.json"
_WORKLOADS: Final = "database_workload.json"
_TIMES: Final = "times: they are of TVM's kernels"
_TARGET: Final = "the target's description: the one that was given is taken"
_FAILED_S: Final = 1e9
"""TVM writes 1e10 seconds for a candidate that failed."""


def read_tvm(path: Path, programs: Sequence[Program], target: Target) -> ImportReport:
    """Read a folder with TVM's two files, or its file of records.

    Args:
        path: the folder or file.
        programs: what the records may be of besides the programs in the file beside; a record is
            tried on those of its parameters.
        target: what the records are for.

    Raises:
        UsageError: no programs are given, and there is no file of them.
        DatabaseError: a file cannot be read, or a line is no record of TVM's.
    """
    file = path / _RECORDS if path.is_dir() else path
    beside = file.with_name(_WORKLOADS)
    if not programs and not beside.exists():
        raise UsageError(
            f"there is no '{beside}', which holds the programs of a TVM database;"
            " name them, such as --program 'matmul m=512 n=512 k=512'"
        )
    report = ImportReport("tvm")
    found = _programs(beside, report) if beside.exists() else []
    for number, line in enumerate(_lines(file), start=1):
        try:
            entry = _entry(line)
        except Malformed as error:
            raise DatabaseError(f"'{file}' line {number}: {error!s:.300}") from error
        own = found[entry.workload] if 0 <= entry.workload < len(found) else "there is none"
        try:
            record = _record(entry, programs, own, target)
        except (Malformed, MetaschedError) as error:
            report.skipped[f"{error!s:.160}".splitlines()[0]] += 1
            continue
        report.lost.update((_TIMES, _TARGET))
        report.add(record, str(file))
    return report


def _programs(path: Path, report: ImportReport) -> list[Program | str]:
    """The programs in a file of workloads by number; where one cannot be read, the reason."""
    found: list[Program | str] = []
    for number, line in enumerate(_lines(path), start=1):
        try:
            encoded = _workload(line)
        except Malformed as error:
            raise DatabaseError(f"'{path}' line {number}: {error!s:.300}") from error
        try:
            program, notes = read_program(encoded)
        except Malformed as error:
            found.append(str(error))
            continue
        report.lost.update(notes)
        found.append(program)
    return found


def _workload(line: bytes) -> str:
    """Take a line apart: ``[hash, program]``."""
    parts = get_list(parse_json(line, "the line"), "the line")
    if len(parts) != 2 or not isinstance(parts[1], str):
        raise Malformed("expected a hash and a program")
    return parts[1]


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES + 1):
                if len(line) > MAX_LINE_BYTES:
                    raise DatabaseError(f"'{path}' has a line longer than {MAX_LINE_BYTES} bytes")
                if line.strip():
                    yield line
    except OSError as error:
        raise DatabaseError(f"cannot read '{path}': {error.strerror}; check the path") from error


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of the file of records: the number of its workload, and parts that are used."""

    workload: int
    trace: list[Any]
    times: list[Any]
    args: list[Any]


def _entry(line: bytes) -> _Entry:
    """Take a line apart: ``[workload, [trace, times, target, arguments]]``."""
    outer = get_list(parse_json(line, "the line"), "the line")
    if len(outer) != 2:
        raise Malformed(f"expected a workload and a record, got {len(outer)} items")
    parts = get_list(outer[1], "the record")
    if len(parts) != 4:
        raise Malformed(f"a record has 4 parts, got {len(parts)}")
    if type(outer[0]) is not int:
        raise Malformed("the number of the workload is none")
    trace, times, _, args = parts
    return _Entry(
        outer[0],
        get_list(trace, "trace"),
        get_list(times or [], "times"),
        get_list(args or [], "args"),
    )


def _record(
    entry: _Entry, programs: Sequence[Program], own: Program | str, target: Target
) -> TuningRecord:
    seconds = [get_seconds(t, "times") if t != 1e10 else _FAILED_S for t in entry.times]
    if not seconds or max(seconds) >= _FAILED_S:
        raise Malformed("the candidate failed in TVM, with no reason given")
    wanted = [_arg(arg) for arg in entry.args]
    fitting = [p for p in programs if not wanted or _args(p) == wanted]
    if isinstance(own, Program):
        fitting.append(own)
    if not fitting:
        raise Malformed(f"no program was given for {', '.join(wanted)}, and of TVM's: {own}")
    reasons: list[str] = []
    for program in fitting:
        try:
            schedule = apply_trace(entry.trace, program)
        except (Malformed, MetaschedError) as error:
            reasons.append(str(error))
            continue
        return TuningRecord(
            workload=Workload.from_program(program),
            target=target,
            trace=schedule.trace.to_json(),
            program_hash=structural_hash(schedule.program),
            status=Status.OK,
            evidence={"imported_from": "tvm", "their_time_s": median(seconds)},
        )
    raise Malformed(f"the trace does not fit: {reasons[0]}")


def _arg(arg: Any) -> str:
    parts = get_list(arg, "an argument")
    if len(parts) != 3 or parts[0] != "TENSOR":
        raise Malformed("an argument is no tensor")
    shape = get_list(parts[2], "a shape")
    return f"{get_text(parts[1], 'a dtype')}({', '.join(map(str, shape))})"


def _args(program: Program) -> list[str]:
    return [f"{p.dtype}({', '.join(str(int_value(n)) for n in p.shape)})" for p in program.params]
