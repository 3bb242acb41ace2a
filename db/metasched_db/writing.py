"""Writes a batch of records in one transaction, merging each with the one of its candidate."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, and_, bindparam, insert, select, update

from metasched.database import TuningRecord, Workload
from metasched.database.equality import loose_keys
from metasched.database.records import merge_records
from metasched.database.refusals import unknown_job
from metasched_db import statements
from metasched_db.models import (
    Base,
    JobRow,
    RecordRow,
    TargetRow,
    VariantRow,
    WorkloadKeyRow,
    WorkloadRow,
)
from metasched_db.rows import record_of, record_values, target_values, variant_digest

_Key = tuple[int, int, str]
"""A candidate: row ids of its workload and target, and its program hash."""


def write_batch(connection: Connection, records: Collection[TuningRecord]) -> None:
    """Insert or merge records; the connection is in a transaction that holds the write lock."""
    _check_jobs(connection, {r.job_id for r in records if r.job_id is not None})
    workloads = _workloads(connection, records)
    own = {workload.hash: workload for _, workload in workloads.values()}
    batch = _Batch(
        workloads, _target_ids(connection, records), _variant_ids(connection, records, own)
    )
    new: dict[_Key, TuningRecord] = {}
    for record in records:
        key = batch.key(record)
        new[key] = merge_records(new[key], record) if key in new else record
    changed = _merge_known(connection, new, batch)
    if changed:
        by_id = update(RecordRow).where(RecordRow.id == bindparam("row_id"))
        connection.execute(by_id, changed)
    if new:
        connection.execute(insert(RecordRow), [batch.values(record) for record in new.values()])


def read_known(connection: Connection, records: Collection[TuningRecord]) -> list[TuningRecord]:
    """Return the records of the same candidates that are there."""
    workloads = _found(
        connection, WorkloadRow.hash, WorkloadRow.id, {r.workload.hash for r in records}
    )
    targets = _found(connection, TargetRow.key, TargetRow.id, {r.target.key() for r in records})
    keys = [
        (workloads[record.workload.hash], targets[record.target.key()], record.program_hash)
        for record in records
        if record.workload.hash in workloads and record.target.key() in targets
    ]
    if not keys:
        return []
    return [record_of(row) for row in connection.execute(statements.candidates(keys, locked=False))]


def _found(
    connection: Connection, column: Any, value: Any, keys: Collection[str]
) -> dict[str, int]:
    query = select(column, value).where(column.in_(tuple(keys)))
    return {row[0]: row[1] for row in connection.execute(query)}


@dataclass(frozen=True, slots=True)
class _Batch:
    """What the records of a batch refer to: row ids, and workloads as they are stored."""

    workloads: Mapping[str, tuple[int, Workload]]
    targets: Mapping[str, int]
    variants: Mapping[str, int]

    def key(self, record: TuningRecord) -> _Key:
        """The candidate of a record."""
        workload_id, _ = self.workloads[record.workload.hash]
        return workload_id, self.targets[record.target.key()], record.program_hash

    def values(self, record: TuningRecord, variant_id: int | None = None) -> dict[str, Any]:
        """The columns of a record; ``variant_id`` is that of a spelling of an earlier batch."""
        workload_id, stored = self.workloads[record.workload.hash]
        if record.workload != stored:
            variant_id = self.variants.get(variant_digest(record.workload), variant_id)
        return record_values(record, workload_id, self.targets[record.target.key()], variant_id)


def upsert(
    connection: Connection, table: type[Base], values: Mapping[str, Any], keys: tuple[str, ...]
) -> None:
    """Update the row that has the values of ``keys``, or insert one."""
    same = and_(*(getattr(table, key) == values[key] for key in keys))
    if not connection.execute(update(table).where(same).values(values)).rowcount:
        connection.execute(insert(table).values(values))


def _merge_known(
    connection: Connection, new: dict[_Key, TuningRecord], batch: _Batch
) -> list[dict[str, Any]]:
    """Take the candidates on record out of ``new``; return the rows that merging changes."""
    changed: list[dict[str, Any]] = []
    for row in connection.execute(statements.candidates(tuple(new))).all():
        old = record_of(row)
        merged = merge_records(old, new.pop((row.workload_id, row.target_id, row.program_hash)))
        if merged != old:
            kept = row.variant_id if merged.workload == old.workload else None
            changed.append({"row_id": row.id, **batch.values(merged, kept)})
    return changed


def _check_jobs(connection: Connection, ids: set[str]) -> None:
    if not ids:
        return
    known = set(connection.scalars(select(JobRow.id).where(JobRow.id.in_(ids))))
    for job_id in sorted(ids - known):
        raise unknown_job(job_id)


def _workloads(
    connection: Connection, records: Collection[TuningRecord]
) -> dict[str, tuple[int, Workload]]:
    """Return row id and stored form of each workload by hash, inserting those that are missing."""
    wanted: dict[str, Workload] = {}
    for record in records:
        wanted.setdefault(record.workload.hash, record.workload)
    columns = (WorkloadRow.id, WorkloadRow.hash, WorkloadRow.name, WorkloadRow.text)
    query = select(*columns).where(WorkloadRow.hash.in_(tuple(wanted)))

    def known() -> dict[str, tuple[int, Workload]]:
        rows = connection.execute(query)
        return {row.hash: (row.id, Workload(row.hash, row.name, row.text)) for row in rows}

    found = known()
    if missing := [workload for key, workload in wanted.items() if key not in found]:
        connection.execute(insert(WorkloadRow), [asdict(workload) for workload in missing])
        found = known()
        keys = [
            {"workload_id": found[workload.hash][0], "equality": str(equality), "key": key}
            for workload in missing
            for equality, key in loose_keys(workload.text).items()
        ]
        if keys:
            connection.execute(insert(WorkloadKeyRow), keys)
    return found


def _variant_ids(
    connection: Connection, records: Collection[TuningRecord], own: Mapping[str, Workload]
) -> dict[str, int]:
    """Return row ids by digest of the spellings that are not those of their workloads."""
    others = (r.workload for r in records if r.workload != own[r.workload.hash])
    values = {
        digest: {"digest": digest, "name": workload.name, "text": workload.text}
        for workload in others
        for digest in (variant_digest(workload),)
    }
    return _ids(connection, VariantRow, "digest", values) if values else {}


def _target_ids(connection: Connection, records: Collection[TuningRecord]) -> dict[str, int]:
    targets = {r.target.key(): r.target for r in records}
    return _ids(
        connection, TargetRow, "key", {k: target_values(target) for k, target in targets.items()}
    )


def _ids(
    connection: Connection,
    table: type[VariantRow] | type[TargetRow],
    column: str,
    values: Mapping[str, dict[str, Any]],
) -> dict[str, int]:
    """Return the row id for each key, inserting the rows that are missing."""
    keys = getattr(table, column)
    query = select(keys, table.id).where(keys.in_(tuple(values)))
    found = {row[0]: row[1] for row in connection.execute(query)}
    if missing := [row for key, row in values.items() if key not in found]:
        connection.execute(insert(table), missing)
        found = {row[0]: row[1] for row in connection.execute(query)}
    return found
