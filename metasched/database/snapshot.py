"""A snapshot: the winners of a database in one file that is mapped and looked up without SQL.

The file is a lock file for deployment. It holds, for each workload and target, the record that
`best` gave when it was written, with the hash of the kernel's source. Nothing can be added to it,
so tuning with it is refused, and a kernel that comes out with another source is too.

Layout, integers little-endian: `_HEADER`; an index of `_ENTRY`, sorted by digest; the records, each
a JSON object, the text of its trace and that of its program; targets and dispatch trees as one JSON
object. A digest is that of workload hash and target key.
"""

# ruff: noqa: D102 - the docstrings of the methods are those of AbstractDatabase

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Final, final

from metasched.database.codec import record_to_dict
from metasched.database.database import AbstractDatabase, ProgramOrHash, workload_hash
from metasched.database.records import JobRecord, Stats, Trust, TuningRecord, Workload
from metasched.database.refusals import check_count, closed, unknown_job
from metasched.errors import DatabaseError, MetaschedError
from metasched.measure.records import Status
from metasched.target import Target

VERSION: Final = 2
SCHEME: Final = "snapshot"
_MAGIC: Final = b"metasched winner"
_HEADER: Final = struct.Struct("<16sIIQQQ")
"""Magic, version, checksum of index and targets, entries, start of the targets, size of all."""

_ENTRY: Final = struct.Struct("<16sQIIII")
"""Digest; start and checksum of the record; sizes of its object, its trace and its program."""

_IMPLIED: Final[Mapping[str, Any]] = {
    "status": str(Status.OK), "message": "", "job_id": None, "trust": str(Trust.UNVERIFIED),
    "trust_note": "", "verified_at": None, "sources": {},
}  # fmt: skip
"""Values that are left out of a record: there is less to read, and most records have them."""

_DECODER: Final = json.JSONDecoder()
_ERRORS: Final = "surrogatepass"
"""Any text comes back as it was, such as the printed name of a file that is no UTF-8."""

_DIGEST_BYTES: Final = 16


def write_snapshot(database: AbstractDatabase, path: str | os.PathLike[str]) -> int:
    """Write the winners of a database; the file appears whole or not at all.

    Returns:
        How many winners there are.

    Raises:
        DatabaseError: The path cannot be written.
    """
    winners = [
        record
        for workload in database.workloads()
        for target in database.targets(workload.hash)
        if (record := database.best(workload.hash, target)) is not None
    ]
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(_image(winners, database.dispatches()))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise DatabaseError(
            f"cannot write '{path}': {error.strerror}; choose a writable path"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return len(winners)


def _image(
    winners: Collection[TuningRecord], dispatches: Collection[tuple[str, str, str]]
) -> bytes:
    by_digest = {_digest(r.workload.hash, r.target.key()): r for r in winners}
    targets = {r.target.key(): r.target.to_dict() for r in winners}
    start = _HEADER.size + _ENTRY.size * len(by_digest)
    index, records = bytearray(), bytearray()
    for digest in sorted(by_digest):
        parts = _parts(by_digest[digest])
        body = b"".join(parts)
        index += _ENTRY.pack(digest, start + len(records), zlib.crc32(body), *map(len, parts))
        records += body
    rest = {"targets": list(targets.values()), "dispatches": list(dispatches)}
    tail = json.dumps(rest, separators=(",", ":")).encode()
    check = zlib.crc32(tail, zlib.crc32(index))
    end = start + len(records)
    header = _HEADER.pack(_MAGIC, VERSION, check, len(by_digest), end, end + len(tail))
    return b"".join((header, index, records, tail))


def _parts(record: TuningRecord) -> tuple[bytes, bytes, bytes]:
    """The object, the trace and the program; long texts inside of JSON are slow to read."""
    data = {"name": record.workload.name, **record_to_dict(record)}
    trace, text = data.pop("trace"), record.workload.text
    data = {name: data[name] for name in data if data[name] != _IMPLIED.get(name, data)}
    line = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return line.encode(), trace.encode(errors=_ERRORS), text.encode(errors=_ERRORS)


def _digest(workload: str, target_key: str) -> bytes:
    return sha256(f"{workload}\0{target_key}".encode()).digest()[:_DIGEST_BYTES]


@final
class Snapshot(AbstractDatabase):
    """A snapshot file as a database that is only read.

    A lookup reads its own record and nothing else, and checks it against its checksum.

    Raises:
        DatabaseError: The file cannot be read, is no snapshot, is damaged or of a later version.
    """

    is_locked: ClassVar[bool] = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.url = f"{SCHEME}:{os.fspath(path)}"
        self._map = _mapped(Path(path))
        try:
            self._count, self._targets, self._dispatches = _read_frame(self._map, self.url)
        except BaseException:
            self._map.close()
            raise

    def close(self) -> None:
        self._map.close()

    def top(self, program: ProgramOrHash, target: Target, k: int) -> tuple[TuningRecord, ...]:
        check_count("top", "k", k)
        found = self.best(program, target)
        return () if found is None else (found,)

    def best(self, program: ProgramOrHash, target: Target) -> TuningRecord | None:
        self._check_open()
        digest = _digest(workload_hash(program), target.key())
        place = bisect_left(range(self._count), digest, key=self._digest_at)
        if place == self._count or self._digest_at(place) != digest:
            return None
        return self._record_at(place)

    def records(
        self,
        program: ProgramOrHash | None = None,
        target: Target | None = None,
        job_id: str | None = None,
        statuses: Collection[Status] | None = None,
    ) -> Iterator[TuningRecord]:
        self._check_open()
        workload = None if program is None else workload_hash(program)
        key = None if target is None else target.key()
        for record in map(self._record_at, range(self._count)):
            if (
                workload in (None, record.workload.hash)
                and key in (None, record.target.key())
                and job_id in (None, record.job_id)
                and (statuses is None or record.status in statuses)
            ):
                yield record

    def measured_hashes(self, program: ProgramOrHash, target: Target) -> frozenset[str]:
        return frozenset(record.program_hash for record in self.top(program, target, 1))

    def stats(self, program: ProgramOrHash | None = None, target: Target | None = None) -> Stats:
        found = list(self.records(program, target))
        return Stats(
            workloads=len({record.workload.hash for record in found}),
            targets=len({record.target.key() for record in found}),
            records=len(found),
            servable=len(found),
            jobs=len({record.job_id for record in found} - {None}),
            by_status=Counter(record.status for record in found),
        )

    def workloads(self) -> tuple[Workload, ...]:
        return tuple({r.workload.hash: r.workload for r in self.records()}.values())

    def targets(self, program: ProgramOrHash) -> tuple[Target, ...]:
        return tuple(record.target for record in self.records(program))

    def put_many(self, records: Iterable[TuningRecord]) -> None:
        raise self._refusal()

    def prune(self, keep: int) -> int:
        raise self._refusal()

    def put_job(self, job: JobRecord) -> None:
        raise self._refusal()

    def job(self, job_id: str) -> JobRecord:
        raise unknown_job(job_id)

    def jobs(self) -> tuple[JobRecord, ...]:
        return ()

    def save_dispatch(self, family: str, target_key: str, name: str, text: str) -> None:
        raise self._refusal()

    def load_dispatch(self, family: str, target_key: str) -> str | None:
        return self._dispatches.get((family, target_key))

    def dispatches(self) -> tuple[tuple[str, str, str], ...]:
        return tuple((*keys, text) for keys, text in self._dispatches.items())

    def save_model(self, target_key: str, name: str, text: str, features: str = "") -> None:
        raise self._refusal()

    def load_model(self, target_key: str, name: str, features: str = "") -> str | None:
        return None

    def _refusal(self) -> DatabaseError:
        return DatabaseError(
            f"database '{self.url}' is a snapshot, which nothing is added to; tune with the"
            " database that it was made from, then write a new one with `metasched db snapshot`"
        )

    def _check_open(self) -> None:
        if self._map.closed:
            raise closed(self.url)

    def _digest_at(self, place: int) -> bytes:
        start = _HEADER.size + place * _ENTRY.size
        return self._map[start : start + _DIGEST_BYTES]

    def _record_at(self, place: int) -> TuningRecord:
        at = _HEADER.size + place * _ENTRY.size
        _, start, check, head, trace, text = _ENTRY.unpack_from(self._map, at)
        body = self._map[start : start + head + trace + text]
        if zlib.crc32(body) != check:
            raise _damaged(self.url, f"record {place}")
        try:
            fields, _ = _DECODER.raw_decode(body[:head].decode())
            trace_text = body[head : head + trace].decode(errors=_ERRORS)
            program = body[head + trace :].decode(errors=_ERRORS)
            return _record_of(fields, trace_text, program, self._targets)
        except (ValueError, KeyError, TypeError, RecursionError, MetaschedError) as error:
            raise _damaged(self.url, f"record {place}") from error


def _record_of(
    fields: dict[str, Any], trace: str, text: str, targets: Mapping[str, Target]
) -> TuningRecord:
    """Return the record of what `_parts` wrote.

    Its text is under a checksum, so only what a lookup relies on is checked again: a trace is
    checked when it is replayed.
    """
    get, time, verified = fields.get, fields["created_at"], fields.get("verified_at")
    record = TuningRecord(
        workload=Workload(fields["workload"], fields["name"], text),
        target=targets[fields["target"]],
        trace=trace,
        program_hash=fields["program_hash"],
        status=Status(fields["status"]) if "status" in fields else Status.OK,
        message=get("message", ""),
        samples_s=tuple(fields["samples_s"]),
        evidence=fields["evidence"],
        timers=fields["timers"],
        source_hash=fields["source_hash"],
        job_id=get("job_id"),
        created_at=datetime.fromisoformat(time),
        format_version=fields["format_version"],
        trust=Trust(fields["trust"]) if "trust" in fields else Trust.UNVERIFIED,
        trust_note=get("trust_note", ""),
        verified_at=None if verified is None else datetime.fromisoformat(verified),
        sources=get("sources", {}),
    )
    if not record.is_servable:
        raise ValueError("no winner")
    return record


def _mapped(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise DatabaseError(f"cannot read '{path}': {error.strerror}; check the path") from error
    except ValueError as error:
        raise DatabaseError(f"'{path}' is empty; expected a snapshot") from error


def _read_frame(
    image: mmap.mmap, url: str
) -> tuple[int, dict[str, Target], dict[tuple[str, str], str]]:
    """Check all but the records; return how many there are, targets and dispatch trees by key."""
    if image[: len(_MAGIC)] != _MAGIC:
        raise DatabaseError(
            f"'{url}' is no snapshot; expected a file that `metasched db snapshot` wrote"
        )
    if len(image) < _HEADER.size:
        raise _damaged(url, "its end is missing")
    _, version, check, count, tail, size = _HEADER.unpack_from(image)
    if version != VERSION:
        raise DatabaseError(
            f"'{url}' has version {version}, this metasched reads version {VERSION};"
            " write the snapshot again with it"
        )
    if size != len(image) or not _HEADER.size + count * _ENTRY.size <= tail <= size:
        raise _damaged(url, "its size")
    index = image[_HEADER.size : _HEADER.size + count * _ENTRY.size]
    if zlib.crc32(image[tail:], zlib.crc32(index)) != check:
        raise _damaged(url, "its index")
    try:
        rest = json.loads(image[tail:])
        targets = [Target.from_dict(fields) for fields in rest["targets"]]
        dispatches = {(str(f), str(key)): str(text) for f, key, text in rest["dispatches"]}
    except (
        ValueError, KeyError, TypeError, AttributeError, RecursionError, MetaschedError,
    ) as error:  # fmt: skip
        raise _damaged(url, "its targets") from error
    return count, {target.key(): target for target in targets}, dispatches


def _damaged(url: str, what: str) -> DatabaseError:
    return DatabaseError(
        f"'{url}' is damaged ({what}); copy it again, or write it anew with `metasched db snapshot`"
    )
