"""The SQL of every query, as SQLAlchemy statements; `rows` turns what comes back into records."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeAlias

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Delete,
    Double,
    Integer,
    ScalarSelect,
    Select,
    Text,
    and_,
    bindparam,
    column,
    delete,
    func,
    select,
    values,
)

from metasched.measure.records import Status
from metasched_db.models import (
    JobRow,
    RecordRow,
    TargetRow,
    VariantRow,
    WorkloadKeyRow,
    WorkloadRow,
)

Query: TypeAlias = "Select[*tuple[Any, ...]]"

OK = str(Status.OK)
PAGE = 512
"""Records that one query of a scan returns; between two pages no transaction is open."""

RECORD_COLUMNS = (
    *RecordRow.__table__.columns,
    WorkloadRow.hash.label("workload_hash"),
    WorkloadRow.name.label("workload_name"),
    WorkloadRow.text.label("workload_text"),
    VariantRow.name.label("variant_name"),
    VariantRow.text.label("variant_text"),
    TargetRow.key.label("target_key"),
    TargetRow.fields.label("target_fields"),
)


def workload_id(workload_hash: str | BindParameter[str]) -> ScalarSelect[int]:
    """Return the row id of a workload as a sub-query."""
    return select(WorkloadRow.id).where(WorkloadRow.hash == workload_hash).scalar_subquery()


def target_id(target_key: str | BindParameter[str]) -> ScalarSelect[int]:
    """Return the row id of a target as a sub-query."""
    return select(TargetRow.id).where(TargetRow.key == target_key).scalar_subquery()


def joined() -> Query:
    """Select records with their workload and target."""
    return (
        select(*RECORD_COLUMNS)
        .join(WorkloadRow, WorkloadRow.id == RecordRow.workload_id)
        .join(TargetRow, TargetRow.id == RecordRow.target_id)
        .outerjoin(VariantRow, VariantRow.id == RecordRow.variant_id)
    )


def _servable() -> tuple[ColumnElement[bool], ...]:
    """The conditions of a lookup; it binds ``workload`` (hash) and ``target`` (key).

    All servable records of a workload and target are one range of the index, in order, so what a
    lookup costs depends on how many it returns and not on how many there are.
    """
    return (
        RecordRow.workload_id == workload_id(bindparam("workload")),
        RecordRow.target_id == target_id(bindparam("target")),
        RecordRow.status == OK,
        RecordRow.time_s.is_not(None),
    )


# Built once, since building a statement costs more than running it.
TOP = (
    joined()
    .where(*_servable())
    .order_by(RecordRow.time_s, RecordRow.id)
    .limit(bindparam("k", type_=Integer))
)
"""The fastest servable records; binds ``k`` besides."""

_FASTEST_S = (
    select(RecordRow.time_s)
    .where(*_servable())
    .order_by(RecordRow.time_s)
    .limit(1)
    .correlate(None)
    .scalar_subquery()
)
TIED = TOP.where(RecordRow.time_s <= _FASTEST_S * bindparam("near", type_=Double))
"""Those of them that are within ``near`` times of the fastest, most often that one alone."""


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
) -> Query:
    """Select the next page of a scan in the order of writing."""
    return joined().where(RecordRow.id > after_id, *conditions).order_by(RecordRow.id).limit(PAGE)


def candidates(keys: Collection[tuple[int, int, str]], *, locked: bool = True) -> Query:
    """Select the records of given candidates, if wanted locked until the transaction ends.

    A key is the row ids of workload and target, and the program hash. Locks are taken in the order
    of the ids, so that two writers cannot wait for each other.
    """
    # A join with a list of rows is one search of the index for each; `IN` would scan it.
    wanted = (
        values(column("workload_id", Integer), column("target_id", Integer), column("hash", Text))
        .data(list(keys))
        .cte("wanted")
    )
    query = (
        joined()
        .join(
            wanted,
            and_(
                RecordRow.workload_id == wanted.c.workload_id,
                RecordRow.target_id == wanted.c.target_id,
                RecordRow.program_hash == wanted.c.hash,
            ),
        )
        .order_by(RecordRow.id)
    )
    return query.with_for_update(of=RecordRow) if locked else query


def counts(conditions: Collection[ColumnElement[bool]]) -> Query:
    """Count records by workload, target and status, in one pass."""
    parts = (RecordRow.workload_id, RecordRow.target_id, RecordRow.status)
    servable = func.count(RecordRow.time_s)
    return select(*parts, func.count(), servable).where(*conditions).group_by(*parts)


def job_count(conditions: Collection[ColumnElement[bool]]) -> Query:
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


def workloads_like(equality: str, key: str) -> Query:
    """Select the workloads that have a key under a looser equality."""
    return (
        select(WorkloadRow.hash, WorkloadRow.name, WorkloadRow.text)
        .join(WorkloadKeyRow, WorkloadKeyRow.workload_id == WorkloadRow.id)
        .where(WorkloadKeyRow.key == key, WorkloadKeyRow.equality == equality)
        .order_by(WorkloadRow.id)
    )
