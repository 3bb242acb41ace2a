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

_Key = tuple[int, int, str]
"""A candidate: row ids of its workload and target, and its program hash."""


def write_batch(connection: Connection, records: Collection[TuningRecord]) -> None:
    """Insert or merge records; the connection is in a transaction that holds the write lock."""
    _check_jobs(connection, {r.job_id for r in records if r.job_id is not None})
    workloads = _workload_ids(connection, records)
    targets = _target_ids(connection, records)
    new: dict[_Key, TuningRecord] = {}
    for record in records:
        key = workloads[record.workload.hash], targets[record.target.key()], record.program_hash
        new[key] = merge_records(new[key], record) if key in new else record
    changed = _merge_known(connection, new)
    if changed:
        by_id = update(RecordRow).where(RecordRow.id == bindparam("row_id"))
        connection.execute(by_id, changed)
    if new:
        values = [record_values(record, *key[:2]) for key, record in new.items()]
        connection.execute(insert(RecordRow), values)


def upsert(
    connection: Connection, table: type[Base], values: Mapping[str, Any], keys: tuple[str, ...]
) -> None:
    """Update the row that has the values of ``keys``, or insert one."""
    same = and_(*(getattr(table, key) == values[key] for key in keys))
    if not connection.execute(update(table).where(same).values(values)).rowcount:
        connection.execute(insert(table).values(values))


def _merge_known(connection: Connection, new: dict[_Key, TuningRecord]) -> list[dict[str, Any]]:
    """Take the candidates on record out of ``new``; return the rows that merging changes."""
    hashes: dict[tuple[int, int], list[str]] = {}
    for workload, target, program_hash in new:
        hashes.setdefault((workload, target), []).append(program_hash)
    changed: list[dict[str, Any]] = []
    for pair, group in hashes.items():
        for row in connection.execute(statements.candidates(*pair, group)).all():
            old = record_of(row)
            merged = merge_records(old, new.pop((*pair, row.program_hash)))
            if merged != old:
                changed.append({"row_id": row.id, **record_values(merged, *pair)})
    return changed


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
