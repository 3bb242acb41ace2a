"""The SQL database: each method is one or a few statements on one connection."""

# ruff: noqa: D102 - the docstrings of the methods are those of AbstractDatabase

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, final

from sqlalchemy import ColumnElement, Connection, select

from metasched.database import AbstractDatabase, JobRecord, Stats, TuningRecord, Workload
from metasched.database.database import BATCH, TIED, ProgramOrHash, workload_hash
from metasched.database.equality import Equality
from metasched.database.records import NEAR_TIE, CandidateKey, candidate_key, now, tied_s
from metasched.database.refusals import check_count, unknown_job
from metasched.measure.records import Status
from metasched.target import Target
from metasched_db import statements
from metasched_db.models import DispatchRow, JobRow, ModelRow, RecordRow, TargetRow, WorkloadRow
from metasched_db.rows import AnyRow, job_of, job_values, record_of, target_of
from metasched_db.schema import change_schema, ensure_schema
from metasched_db.session import Sessions
from metasched_db.writing import read_known, upsert, write_batch


@final
class SqlDatabase(AbstractDatabase):
    """A tuning database in SQLite or PostgreSQL, for any number of processes at once.

    Raises:
        UsageError: The URL is malformed.
        DatabaseError: The database cannot be opened, is another program's or of a later schema.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._sessions = Sessions(url)
        try:
            ensure_schema(self._sessions)
        except BaseException:
            self._sessions.close()
            raise

    def close(self) -> None:
        self._sessions.close()

    def change_schema(self, revision: str) -> None:
        try:
            change_schema(self._sessions, revision)
        finally:
            self.close()

    def put_many(self, records: Iterable[TuningRecord]) -> None:
        left = iter(records)
        while batch := tuple(islice(left, BATCH)):
            self._sessions.write(partial(write_batch, records=batch))

    @property
    def label(self) -> str:
        return self._sessions.label

    def known(self, records: Collection[TuningRecord]) -> dict[CandidateKey, TuningRecord]:
        found = self._sessions.read(partial(read_known, records=records))
        return {candidate_key(record): record for record in found}

    def top(self, program: ProgramOrHash, target: Target, k: int) -> tuple[TuningRecord, ...]:
        check_count("top", "k", k)
        values = {"workload": workload_hash(program), "target": target.key(), "k": k}
        rows = self._rows(statements.TOP, values)
        return tuple(map(record_of, rows))

    def best(self, program: ProgramOrHash, target: Target) -> TuningRecord | None:
        workload, key = workload_hash(program), target.key()
        values = {"workload": workload, "target": key, "k": TIED, "near": 1 + NEAR_TIE}
        rows = self._rows(statements.TIED, values)
        if not rows:
            return None
        # Of several only the one that is served is made a record, which costs more than its row.
        most_s = tied_s(fastest := record_of(rows[0]))
        row = min((r for r in rows if r.time_s <= most_s), key=lambda r: r.created_at)
        return fastest if row is rows[0] else record_of(row)

    def records(
        self,
        program: ProgramOrHash | None = None,
        target: Target | None = None,
        job_id: str | None = None,
        statuses: Collection[Status] | None = None,
    ) -> Iterator[TuningRecord]:
        conditions = _matching(program, target)
        if job_id is not None:
            conditions.append(RecordRow.job_id == job_id)
        if statuses is not None:
            conditions.append(RecordRow.status.in_([str(status) for status in statuses]))
        return self._scan(conditions)

    def _scan(self, conditions: list[ColumnElement[bool]]) -> Iterator[TuningRecord]:
        after_id = 0
        while rows := self._rows(statements.page(after_id, conditions)):
            yield from map(record_of, rows)
            after_id = rows[-1].id

    def measured_hashes(self, program: ProgramOrHash, target: Target) -> frozenset[str]:
        query = select(RecordRow.program_hash).where(
            *_matching(program, target), RecordRow.status != str(Status.LOST)
        )
        return frozenset(row[0] for row in self._rows(query))

    def stats(self, program: ProgramOrHash | None = None, target: Target | None = None) -> Stats:
        conditions = _matching(program, target)

        def count(connection: Connection) -> tuple[list[AnyRow], int]:
            rows = connection.execute(statements.counts(conditions)).all()
            jobs = connection.scalar(statements.job_count(conditions))
            return list(rows), jobs or 0

        return _stats(*self._sessions.read(count))

    def workloads(self) -> tuple[Workload, ...]:
        query = select(WorkloadRow.hash, WorkloadRow.name, WorkloadRow.text)
        rows = self._rows(query.order_by(WorkloadRow.id))
        return tuple(Workload(row.hash, row.name, row.text) for row in rows)

    def workloads_like(self, equality: Equality, key: str) -> tuple[Workload, ...]:
        rows = self._rows(statements.workloads_like(str(equality), key))
        return tuple(Workload(*row) for row in rows)

    def targets(self, program: ProgramOrHash) -> tuple[Target, ...]:
        with_records = select(RecordRow.target_id).where(*_matching(program, None))
        query = select(TargetRow.fields).where(TargetRow.id.in_(with_records))
        return tuple(target_of(row[0]) for row in self._rows(query.order_by(TargetRow.id)))

    def prune(self, keep: int) -> int:
        query = statements.all_but_fastest(check_count("prune", "keep", keep))
        return self._sessions.write(lambda connection: connection.execute(query).rowcount)

    def put_job(self, job: JobRecord) -> None:
        values = job_values(job)
        self._sessions.write(lambda connection: upsert(connection, JobRow, values, ("id",)))

    def job(self, job_id: str) -> JobRecord:
        rows = self._rows(select(*JobRow.__table__.columns).where(JobRow.id == job_id))
        if not rows:
            raise unknown_job(job_id)
        return job_of(rows[0])

    def jobs(self) -> tuple[JobRecord, ...]:
        query = select(*JobRow.__table__.columns).order_by(JobRow.created_at, JobRow.id)
        return tuple(map(job_of, self._rows(query)))

    def save_dispatch(self, family: str, target_key: str, name: str, text: str) -> None:
        keys = {"family": family, "target_key": target_key}
        values = {**keys, "name": name, "text": text, "created_at": now()}
        self._sessions.write(
            lambda connection: upsert(connection, DispatchRow, values, tuple(keys))
        )

    def load_dispatch(self, family: str, target_key: str) -> str | None:
        query = select(DispatchRow.text).where(
            DispatchRow.family == family, DispatchRow.target_key == target_key
        )
        return next((row[0] for row in self._rows(query)), None)

    def dispatches(self) -> tuple[tuple[str, str, str], ...]:
        columns = (DispatchRow.family, DispatchRow.target_key, DispatchRow.text)
        return tuple((row[0], row[1], row[2]) for row in self._rows(select(*columns)))

    def save_model(self, target_key: str, name: str, text: str, features: str = "") -> None:
        keys = {"target_key": target_key, "name": name, "features": features}
        values = {**keys, "text": text, "created_at": now()}
        self._sessions.write(lambda connection: upsert(connection, ModelRow, values, tuple(keys)))

    def load_model(self, target_key: str, name: str, features: str = "") -> str | None:
        query = select(ModelRow.text).where(
            ModelRow.target_key == target_key,
            ModelRow.name == name,
            ModelRow.features == features,
        )
        return next((row[0] for row in self._rows(query)), None)

    def _rows(self, query: statements.Query, values: dict[str, Any] | None = None) -> list[AnyRow]:
        return self._sessions.read(lambda connection: list(connection.execute(query, values)))


def _matching(program: ProgramOrHash | None, target: Target | None) -> list[ColumnElement[bool]]:
    return statements.matching(
        None if program is None else workload_hash(program),
        None if target is None else target.key(),
    )


def _stats(groups: list[AnyRow], jobs: int) -> Stats:
    """Add up counts by workload, target and status."""
    by_status: dict[Status, int] = dict.fromkeys(Status, 0)
    for _, _, status, count, _ in groups:
        by_status[Status(status)] += count
    return Stats(
        workloads=len({row[0] for row in groups}),
        targets=len({row[1] for row in groups}),
        records=sum(by_status.values()),
        servable=sum(row[4] for row in groups),
        jobs=jobs,
        by_status={status: count for status, count in by_status.items() if count},
    )
