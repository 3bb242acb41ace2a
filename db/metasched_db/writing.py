"""Writes a batch of records in one transaction, merging each with the one of its candidate."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, and_, bindparam, insert, select, update

from metasched.database import TuningRecord
from metasched.database.records import merge_records
from metasched.database.refusals import unknown_job
from metasched_db import statements
from metasched_db.models import Base, JobRow, RecordRow, TargetRow, WorkloadRow
from metasched_db.rows import record_of, record_values, target_values

_Group = dict[str, TuningRecord]


def write_batch(connection: Connection, records: Collection[TuningRecord]) -> None:
    """Insert or merge records; the connection is in a transaction that holds the write lock."""
    _check_jobs(connection, {r.job_id for r in records if r.job_id is not None})
    workloads = _workload_ids(connection, records)
    targets = _target_ids(connection, records)
    groups: dict[tuple[int, int], _Group] = {}
    for record in records:
        key = workloads[record.workload.hash], targets[record.target.key()]
        _put(groups.setdefault(key, {}), record)
    for (workload, target), group in groups.items():
        _write_group(connection, workload, target, group)


def upsert(
    connection: Connection, table: type[Base], values: Mapping[str, Any], keys: tuple[str, ...]
) -> None:
    """Update the row that has the values of ``keys``, or insert one."""
    same = and_(*(getattr(table, key) == values[key] for key in keys))
    if not connection.execute(update(table).where(same).values(values)).rowcount:
        connection.execute(insert(table).values(values))


def _put(group: _Group, record: TuningRecord) -> None:
    old = group.get(record.program_hash)
    group[record.program_hash] = record if old is None else merge_records(old, record)


def _write_group(connection: Connection, workload: int, target: int, group: _Group) -> None:
    """Write the records of one workload and target."""
    old = connection.execute(statements.candidates(workload, target, tuple(group))).all()
    changed: list[dict[str, Any]] = []
    for row in old:
        kept = record_of(row)
        merged = merge_records(kept, group.pop(row.program_hash))
        if merged != kept:
            changed.append({"row_id": row.id, **record_values(merged, workload, target)})
    if changed:
        connection.execute(
            update(RecordRow.__table__).where(RecordRow.__table__.c.id == bindparam("row_id")),  # type: ignore[arg-type]
            changed,
        )
    if group:
        values = [record_values(record, workload, target) for record in group.values()]
        connection.execute(insert(RecordRow.__table__), values)  # type: ignore[arg-type]


def _check_jobs(connection: Connection, ids: set[str]) -> None:
    if not ids:
        return
    known = set(connection.scalars(select(JobRow.id).where(JobRow.id.in_(ids))))
    for job_id in sorted(ids - known):
        raise unknown_job(job_id)


def _workload_ids(connection: Connection, records: Collection[TuningRecord]) -> dict[str, int]:
    values = {
        r.workload.hash: {"hash": r.workload.hash, "name": r.workload.name, "text": r.workload.text}
        for r in records
    }
    return _ids(connection, WorkloadRow, "hash", values)


def _target_ids(connection: Connection, records: Collection[TuningRecord]) -> dict[str, int]:
    targets = {r.target.key(): r.target for r in records}
    return _ids(
        connection, TargetRow, "key", {k: target_values(target) for k, target in targets.items()}
    )


def _ids(
    connection: Connection,
    table: type[WorkloadRow] | type[TargetRow],
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
