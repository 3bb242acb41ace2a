"""The reference implementation: a database in the memory of one process, gone when it closes."""

# ruff: noqa: D102 - the docstrings of the methods are those of AbstractDatabase

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from threading import RLock
from typing import final

from metasched.database.database import AbstractDatabase, ProgramOrHash, workload_hash
from metasched.database.records import (
    CandidateKey,
    JobRecord,
    Stats,
    TuningRecord,
    Workload,
    candidate_key,
    merge_records,
)
from metasched.database.refusals import check_count, closed, unknown_job
from metasched.measure.records import Status
from metasched.target import Target


@final
class MemoryDatabase(AbstractDatabase):
    """Keeps records in dictionaries; for tests, and for tuning that leaves nothing behind.

    >>> with MemoryDatabase() as database:
    ...     database.stats().records
    0
    """

    def __init__(self) -> None:
        self.url = "memory:"
        self._lock = RLock()
        self._closed = False
        self._records: dict[CandidateKey, TuningRecord] = {}
        self._workloads: dict[str, Workload] = {}
        self._jobs: dict[str, JobRecord] = {}
        self._dispatches: dict[tuple[str, str], str] = {}
        self._models: dict[tuple[str, str, str], str] = {}

    def close(self) -> None:
        self._closed = True

    def put_many(self, records: Iterable[TuningRecord]) -> None:
        records = tuple(records)
        with self._open():
            for record in records:
                if record.job_id is not None:
                    self.job(record.job_id)
            for record in records:
                self._put(record)

    def known(self, records: Collection[TuningRecord]) -> dict[CandidateKey, TuningRecord]:
        with self._open():
            wanted = map(candidate_key, records)
            return {key: self._records[key] for key in wanted if key in self._records}

    def top(self, program: ProgramOrHash, target: Target, k: int) -> tuple[TuningRecord, ...]:
        found = self.records(program, target, statuses=(Status.OK,))
        return tuple(_fastest(found)[: check_count("top", "k", k)])

    def records(
        self,
        program: ProgramOrHash | None = None,
        target: Target | None = None,
        job_id: str | None = None,
        statuses: Collection[Status] | None = None,
    ) -> Iterator[TuningRecord]:
        workload = None if program is None else workload_hash(program)
        target_key = None if target is None else target.key()
        with self._open():
            found = tuple(self._records.items())
        return (
            record
            for key, record in found
            if workload in (None, key[0])
            and target_key in (None, key[1])
            and job_id in (None, record.job_id)
            and (statuses is None or record.status in statuses)
        )

    def measured_hashes(self, program: ProgramOrHash, target: Target) -> frozenset[str]:
        found = self.records(program, target)
        return frozenset(r.program_hash for r in found if r.status != Status.LOST)

    def stats(self, program: ProgramOrHash | None = None, target: Target | None = None) -> Stats:
        found = tuple(self.records(program, target))
        counts = Counter(record.status for record in found)
        is_whole = program is None and target is None
        jobs = self._jobs if is_whole else {record.job_id for record in found} - {None}
        return Stats(
            workloads=len({record.workload.hash for record in found}),
            targets=len({record.target.key() for record in found}),
            records=len(found),
            servable=sum(record.is_servable for record in found),
            jobs=len(jobs),
            by_status={status: counts[status] for status in Status if counts[status]},
        )

    def workloads(self) -> tuple[Workload, ...]:
        with self._open():
            return tuple(self._workloads.values())

    def targets(self, program: ProgramOrHash) -> tuple[Target, ...]:
        return tuple({r.target.key(): r.target for r in self.records(program)}.values())

    def prune(self, keep: int) -> int:
        check_count("prune", "keep", keep)
        with self._open():
            groups: dict[tuple[str, str], list[TuningRecord]] = {}
            for key, record in self._records.items():
                groups.setdefault(key[:2], []).append(record)
            kept = {
                candidate_key(record)
                for group in groups.values()
                for record in _fastest(group)[:keep]
            }
            before = len(self._records)
            self._records = {key: r for key, r in self._records.items() if key in kept}
            return before - len(self._records)

    def put_job(self, job: JobRecord) -> None:
        with self._open():
            self._jobs[job.id] = job

    def job(self, job_id: str) -> JobRecord:
        with self._open():
            if job_id not in self._jobs:
                raise unknown_job(job_id)
            return self._jobs[job_id]

    def jobs(self) -> tuple[JobRecord, ...]:
        with self._open():
            return tuple(self._jobs.values())

    def save_dispatch(self, family: str, target_key: str, name: str, text: str) -> None:
        with self._open():
            self._dispatches[family, target_key] = text

    def load_dispatch(self, family: str, target_key: str) -> str | None:
        with self._open():
            return self._dispatches.get((family, target_key))

    def dispatches(self) -> tuple[tuple[str, str, str], ...]:
        with self._open():
            return tuple((*keys, text) for keys, text in self._dispatches.items())

    def save_model(self, target_key: str, name: str, text: str, features: str = "") -> None:
        with self._open():
            self._models[target_key, name, features] = text

    def load_model(self, target_key: str, name: str, features: str = "") -> str | None:
        with self._open():
            return self._models.get((target_key, name, features))

    def _open(self) -> RLock:
        """Return the lock, for a database that is not closed."""
        if self._closed:
            raise closed(self.url)
        return self._lock

    def _put(self, record: TuningRecord) -> None:
        key = candidate_key(record)
        self._workloads.setdefault(record.workload.hash, record.workload)
        old = self._records.get(key)
        self._records[key] = record if old is None else merge_records(old, record)


def _fastest(records: Iterable[TuningRecord]) -> list[TuningRecord]:
    servable = [record for record in records if record.is_servable]
    return sorted(servable, key=lambda record: record.time_s or 0.0)
