"""Records as JSON lines: how they are written, and how a file of them is read with distrust.

A file is a header line, then one object a line: each workload, target and job before the first
record that refers to it. Reading checks every field and executes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

from metasched.database.records import (
    FORMAT_VERSION,
    JobRecord,
    JobStatus,
    Trust,
    TuningRecord,
    Workload,
)
from metasched.database.spelling import hash_of_text
from metasched.errors import DatabaseError, MetaschedError, suggest
from metasched.measure.records import Status
from metasched.target import Target

FORMAT = "metasched records"
MAX_LINE_BYTES = 16 * 2**20
"""A longer line is refused: no record comes near it, and reading stays bounded in memory."""

Item: TypeAlias = TuningRecord | JobRecord
_Enum = TypeVar("_Enum", bound=StrEnum)
_Fields: TypeAlias = dict[str, Any]
_RECORD_FIELDS = frozenset(field.name for field in fields(TuningRecord))
_JOB_FIELDS = frozenset(field.name for field in fields(JobRecord))


def write_lines(jobs: Iterable[JobRecord], records: Iterable[TuningRecord]) -> Iterator[str]:
    """Yield the lines of an export, without line ends."""
    yield _line({"format": FORMAT, "version": FORMAT_VERSION})
    for job in jobs:
        yield _line({"kind": "job", **job_to_dict(job)})
    seen: dict[str, Workload | None] = {}
    for record in records:
        yield from _parts_once(record, seen)
        yield _line({"kind": "record", **record_to_dict(record)})


def _parts_once(record: TuningRecord, seen: dict[str, Workload | None]) -> Iterator[str]:
    """Yield the workload and target of ``record`` where they are not those of the lines before.

    A workload comes again where a record was tuned on another spelling of the program.
    """
    workload, key = record.workload, f"target {record.target.key()}"
    if seen.get(workload.hash) != workload:
        yield _line({"kind": "workload", **asdict(workload)})
    if key not in seen:
        fields = record.target.to_dict()
        yield _line({"kind": "target", "key": record.target.key(), "fields": fields})
    seen[workload.hash], seen[key] = workload, None


def record_to_dict(record: TuningRecord) -> _Fields:
    """Return a record as JSON values; workload and target are named by hash and key."""
    out = {name: getattr(record, name) for name in TuningRecord.__slots__}
    out.update(
        workload=record.workload.hash,
        target=record.target.key(),
        status=str(record.status),
        samples_s=list(record.samples_s),
        created_at=_time_text(record.created_at),
        trust=str(record.trust),
        verified_at=None if record.verified_at is None else _time_text(record.verified_at),
        sources={name: list(samples) for name, samples in record.sources.items()},
    )
    return out


def job_to_dict(job: JobRecord) -> _Fields:
    """Return a job as JSON values."""
    return {
        "id": job.id,
        "created_at": _time_text(job.created_at),
        "ended_at": None if job.ended_at is None else _time_text(job.ended_at),
        "settings": dict(job.settings),
        "status": str(job.status),
    }


def read_file(path: Path) -> Iterator[Item]:
    """Yield the jobs and records of an export, each checked.

    Raises:
        DatabaseError: The file cannot be read, is of another or a later format, or a line does not
            hold what it should; the message names the line.
    """
    try:
        with path.open("rb") as file:
            yield from _Reader(str(path)).items(
                iter(lambda: file.readline(MAX_LINE_BYTES + 1), b"")
            )
    except OSError as error:
        raise DatabaseError(f"cannot read '{path}': {error.strerror}; check the path") from error


class _Reader:
    """Decodes the lines of one file, remembering the workloads, targets and jobs seen so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.workloads: dict[str, Workload] = {}
        self.targets: dict[str, Target] = {}
        self.jobs: set[str] = set()
        self.version = FORMAT_VERSION

    def items(self, lines: Iterator[bytes]) -> Iterator[Item]:
        decode: dict[str, Callable[[_Fields], Item | None]] = {
            "workload": self._workload,
            "target": self._target,
            "job": self._job,
            "record": self._record,
        }
        self._header(next(lines, b""))
        for number, line in enumerate(lines, start=2):
            try:
                data = _parse(line)
                kind = data.pop("kind", None)
                if not isinstance(kind, str) or kind not in decode:
                    raise _Malformed(f"kind is {kind!r}; expected one of {', '.join(decode)}")
                item = decode[kind](data)
            except (_Malformed, MetaschedError) as error:
                # The start of a message tells enough, and a hostile line may be very long.
                raise DatabaseError(
                    f"'{self.name}' line {number}: {error!s:.300}; nothing was imported"
                ) from error
            if item is not None:
                yield item

    def _header(self, line: bytes) -> None:
        try:
            header = _parse(line)
        except _Malformed:
            header = {}
        if header.get("format") != FORMAT:
            raise DatabaseError(
                f"'{self.name}' is no export of a tuning database: its first line is not the"
                " header; expected a file written by `metasched db export`"
            )
        self.version = _check_version(header.get("version"), self.name)

    def _workload(self, data: _Fields) -> None:
        _only(data, frozenset(Workload.__slots__))
        values = {name: _get(data, name, str) for name in Workload.__slots__}
        self.workloads[values["hash"]] = self._checked(Workload(**values))

    def _checked(self, workload: Workload) -> Workload:
        """The workload, whose hash is that of its text wherever that is a program.

        The first format hashed programs in another way.
        """
        found = hash_of_text(workload.text)
        if found is None or found == workload.hash:
            return workload
        if self.version == 1:
            return replace(workload, hash=found)
        raise _Malformed(f"workload hash is '{workload.hash!s:.80}' but its text gives '{found}'")

    def _target(self, data: _Fields) -> None:
        _only(data, frozenset(("key", "fields")))
        key, target = _get(data, "key", str), _target(_get(data, "fields", dict))
        if target.key() != key:
            raise _Malformed(f"target key is '{key}' but its fields give '{target.key()}'")
        self.targets[key] = target

    def _job(self, data: _Fields) -> JobRecord:
        _only(data, _JOB_FIELDS)
        job = JobRecord(
            id=_get(data, "id", str),
            created_at=_time(data, "created_at"),
            ended_at=None if data.get("ended_at") is None else _time(data, "ended_at"),
            settings=_get(data, "settings", dict),
            status=_member(JobStatus, data, "status"),
        )
        self.jobs.add(job.id)
        return job

    def _record(self, data: _Fields) -> TuningRecord:
        job_id = data.get("job_id")
        if job_id is not None and not (isinstance(job_id, str) and job_id in self.jobs):
            raise _Malformed(f"job_id {str(job_id)[:80]!r} is of no job in an earlier line")
        workload = _known(self.workloads, data, "workload")
        return _record_of(data, workload, _known(self.targets, data, "target"))


def _record_of(data: _Fields, workload: Workload, target: Target) -> TuningRecord:
    _only(data, _RECORD_FIELDS)
    _check_version(data.get("format_version"), "the record")
    texts = ("trace", "program_hash", "message", "source_hash")
    values = {name: _get(data, name, str) for name in texts}
    _check_trace(values["trace"])
    return TuningRecord(
        workload=workload,
        target=target,
        status=_member(Status, data, "status"),
        trust=_member(Trust, {"trust": Trust.UNVERIFIED, **data}, "trust"),
        trust_note=_get({"trust_note": "", **data}, "trust_note", str),
        verified_at=None if data.get("verified_at") is None else _time(data, "verified_at"),
        sources=_sources(_get({"sources": {}, **data}, "sources", dict)),
        samples_s=_numbers(_get(data, "samples_s", list), "samples_s"),
        evidence=_scalars(_get(data, "evidence", dict)),
        timers=_timers(_get(data, "timers", dict)),
        job_id=data.get("job_id"),
        created_at=_time(data, "created_at"),
        **values,
    )


class _Malformed(Exception):
    """A line does not hold what it should."""


def _line(data: Mapping[str, object]) -> str:
    return json.dumps(data, separators=(",", ":"), allow_nan=False)


def _time_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat()


def _parse(line: bytes) -> _Fields:
    if len(line) > MAX_LINE_BYTES:
        raise _Malformed(f"the line is longer than {MAX_LINE_BYTES} bytes")
    data = _loads(line, "the line")
    if not isinstance(data, dict):
        raise _Malformed(f"expected a JSON object, got {type(data).__name__}")
    return cast(_Fields, data)


def _check_trace(text: str) -> None:
    if text and not isinstance(_loads(text, "trace"), dict | list):
        raise _Malformed("trace is not a JSON object or list")


def _loads(text: str | bytes, what: str) -> object:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise _Malformed(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise _Malformed(f"{what} is not JSON ({error})") from error


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


def _only(data: _Fields, names: frozenset[str]) -> None:
    if unknown := sorted(data.keys() - names):
        raise _Malformed(f"unknown field '{unknown[0]}'{suggest(unknown[0], names)}")


def _get(data: _Fields, name: str, kind: type[Any]) -> Any:
    value = data.get(name)
    if not isinstance(value, kind):
        got = "nothing" if name not in data else type(value).__name__
        raise _Malformed(f"{name}: expected {kind.__name__}, got {got}")
    if isinstance(value, str) and not _is_text(value):
        raise _Malformed(f"{name}: expected text, got a lone surrogate or a zero character")
    return value


def _is_text(value: str) -> bool:
    """Whether every database can store it."""
    return "\0" not in value and value.encode(errors="replace").decode() == value


def _target(data: _Fields) -> Target:
    try:
        return Target.from_dict(data)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise _Malformed(f"fields describe no target ({error})") from error


def _known(table: Mapping[str, Any], data: _Fields, name: str) -> Any:
    key = _get(data, name, str)
    if key not in table:
        raise _Malformed(f"{name} '{key}' is in no earlier line")
    return table[key]


def _member(kind: type[_Enum], data: _Fields, field: str) -> _Enum:
    name = _get(data, field, str)
    known = [str(member) for member in kind]
    if name not in known:
        raise _Malformed(f"unknown {field} '{name}'{suggest(name, known)}")
    return kind(name)


def _time(data: _Fields, name: str) -> datetime:
    text = _get(data, name, str)
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            raise _Malformed(f"{name} '{text}' has no time zone")
        return time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Malformed(f"{name} '{text}' is no ISO 8601 time") from None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(values: list[Any], name: str) -> tuple[float, ...]:
    if not all(map(_is_number, values)):
        raise _Malformed(f"{name}: expected numbers only")
    try:
        return tuple(map(float, values))
    except OverflowError:
        raise _Malformed(f"{name}: a number is too large") from None


def _timers(data: _Fields) -> dict[str, float]:
    return dict(zip(data, _numbers(list(data.values()), "timers"), strict=True))


def _sources(data: _Fields) -> dict[str, tuple[float, ...]]:
    for name, samples in data.items():
        if not _is_text(name) or not isinstance(samples, list):
            raise _Malformed(f"sources: expected lists of numbers by name, got '{name!s:.40}'")
    return {name: _numbers(samples, "sources") for name, samples in data.items()}


def _scalars(data: _Fields) -> _Fields:
    if not all(value is None or isinstance(value, str | int | float) for value in data.values()):
        raise _Malformed("evidence: expected text, numbers, truth values and null only")
    return data


def _check_version(version: object, what: str) -> int:
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise DatabaseError(f"{what} has format version {version!r}; expected a number from 1 up")
    if version > FORMAT_VERSION:
        raise DatabaseError(
            f"{what} has format version {version}, this metasched reads up to {FORMAT_VERSION};"
            " update metasched"
        )
    return version
