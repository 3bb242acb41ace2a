"""The SQL of every query, as SQLAlchemy statements; `rows` turns what comes back into records."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Delete, ScalarSelect, Select, delete, func, select

from metasched.measure.records import Status
from metasched_db.models import JobRow, RecordRow, TargetRow, WorkloadRow

OK = str(Status.OK)
PAGE = 512
"""Records that one query of a scan returns; between two pages no transaction is open."""

RECORD_COLUMNS = (
    *(column for column in RecordRow.__table__.columns if column.name != "time_s"),
    WorkloadRow.hash.label("workload_hash"),
    WorkloadRow.name.label("workload_name"),
    WorkloadRow.text.label("workload_text"),
    TargetRow.key.label("target_key"),
    TargetRow.fields.label("target_fields"),
)


def workload_id(workload_hash: str) -> ScalarSelect[int]:
    """Return the row id of a workload as a sub-query."""
    return select(WorkloadRow.id).where(WorkloadRow.hash == workload_hash).scalar_subquery()


def target_id(target_key: str) -> ScalarSelect[int]:
    """Return the row id of a target as a sub-query."""
    return select(TargetRow.id).where(TargetRow.key == target_key).scalar_subquery()


def joined() -> Select[Any]:
    """Select records with their workload and target."""
    return (
        select(*RECORD_COLUMNS)
        .join(WorkloadRow, WorkloadRow.id == RecordRow.workload_id)
        .join(TargetRow, TargetRow.id == RecordRow.target_id)
    )


def top(workload_hash: str, target_key: str, k: int) -> Select[Any]:
    """Select the ``k`` fastest servable records: one range of the index, whatever the size."""
    return (
        joined()
        .where(
            RecordRow.workload_id == workload_id(workload_hash),
            RecordRow.target_id == target_id(target_key),
            RecordRow.status == OK,
            RecordRow.time_s.is_not(None),
        )
        .order_by(RecordRow.time_s, RecordRow.id)
        .limit(k)
    )


def matching(workload_hash: str | None, target_key: str | None) -> list[ColumnElement[bool]]:
    """Return the conditions for records of a workload or a target, where given."""
    conditions: list[ColumnElement[bool]] = []
    if workload_hash is not None:
        conditions.append(RecordRow.workload_id == workload_id(workload_hash))
    if target_key is not None:
        conditions.append(RecordRow.target_id == target_id(target_key))
    return conditions


def page(
    after_id: int,
    conditions: Collection[ColumnElement[bool]],
) -> Select[Any]:
    """Select the next page of a scan in the order of writing."""
    return joined().where(RecordRow.id > after_id, *conditions).order_by(RecordRow.id).limit(PAGE)


def candidates(workload: int, target: int, program_hashes: Collection[str]) -> Select[Any]:
    """Select the records of given candidates, locked until the transaction ends."""
    return (
        joined()
        .where(
            RecordRow.workload_id == workload,
            RecordRow.target_id == target,
            RecordRow.program_hash.in_(program_hashes),
        )
        .with_for_update(of=RecordRow)
    )


def counts(conditions: Collection[ColumnElement[bool]]) -> Select[Any]:
    """Count records by workload, target and status, in one pass."""
    parts = (RecordRow.workload_id, RecordRow.target_id, RecordRow.status)
    servable = func.count(RecordRow.time_s)
    return select(*parts, func.count(), servable).where(*conditions).group_by(*parts)


def job_count(conditions: Collection[ColumnElement[bool]]) -> Select[Any]:
    """Count all jobs, or those with a matching record where there are conditions."""
    if not conditions:
        return select(func.count()).select_from(JobRow)
    return select(func.count(RecordRow.job_id.distinct())).where(*conditions)


def all_but_fastest(keep: int) -> Delete:
    """Delete all but the ``keep`` fastest servable records of each workload and target."""
    rank = func.row_number().over(
        partition_by=(RecordRow.workload_id, RecordRow.target_id),
        order_by=(RecordRow.time_s, RecordRow.id),
    )
    ranked = (
        select(RecordRow.id, rank.label("rank")).where(RecordRow.time_s.is_not(None)).subquery()
    )
    kept = select(ranked.c.id).where(ranked.c.rank <= keep)
    return delete(RecordRow).where(RecordRow.id.not_in(kept))
