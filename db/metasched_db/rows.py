"""Rows to records and back. JSON text is used for lists, since no query looks into them."""

from __future__ import annotations

import json
from functools import lru_cache
from hashlib import sha256
from typing import Any, TypeAlias

from sqlalchemy import Row

from metasched.database import JobRecord, JobStatus, Trust, TuningRecord, Workload
from metasched.measure.records import Status
from metasched.target import Target

AnyRow: TypeAlias = "Row[*tuple[Any, ...]]"


def record_values(
    record: TuningRecord, workload_id: int, target_id: int, variant_id: int | None
) -> dict[str, Any]:
    """Return the columns of a record, without its id."""
    return {
        "workload_id": workload_id,
        "target_id": target_id,
        "job_id": record.job_id,
        "program_hash": record.program_hash,
        "trace": record.trace,
        "status": str(record.status),
        "message": record.message,
        "time_s": record.time_s if record.is_servable else None,
        "samples_s": json.dumps(record.samples_s),
        "evidence": json.dumps(dict(record.evidence)),
        "timers": json.dumps(dict(record.timers)),
        "source_hash": record.source_hash,
        "created_at": record.created_at,
        "format_version": record.format_version,
        "variant_id": variant_id,
        "trust": str(record.trust),
        "trust_note": record.trust_note,
        "verified_at": record.verified_at,
        "sources": json.dumps(dict(record.sources)),
    }


def record_of(row: AnyRow) -> TuningRecord:
    """Return the record in a row of `statements.joined`."""
    return TuningRecord(
        workload=_workload_of(row),
        target=target_of(row.target_fields),
        trace=row.trace,
        program_hash=row.program_hash,
        status=Status(row.status),
        message=row.message,
        samples_s=tuple(json.loads(row.samples_s)),
        evidence=json.loads(row.evidence),
        timers=json.loads(row.timers),
        source_hash=row.source_hash,
        job_id=row.job_id,
        created_at=row.created_at,
        format_version=row.format_version,
        trust=Trust(row.trust),
        trust_note=row.trust_note,
        verified_at=row.verified_at,
        sources={name: tuple(samples) for name, samples in json.loads(row.sources).items()},
    )


def _workload_of(row: AnyRow) -> Workload:
    if row.variant_id is None:
        return Workload(row.workload_hash, row.workload_name, row.workload_text)
    return Workload(row.workload_hash, row.variant_name, row.variant_text)


def variant_digest(workload: Workload) -> str:
    """Return what tells one spelling of a workload from all others."""
    return sha256(f"{workload.hash}\0{workload.name}\0{workload.text}".encode()).hexdigest()


@lru_cache(maxsize=256)
def target_of(fields: str) -> Target:
    """Return the target in a column of JSON text; many rows share one."""
    return Target.from_dict(json.loads(fields))


def target_values(target: Target) -> dict[str, Any]:
    """Return the columns of a target, without its id."""
    return {"key": target.key(), "kind": target.kind, "fields": json.dumps(target.to_dict())}


def job_values(job: JobRecord) -> dict[str, Any]:
    """Return the columns of a job."""
    return {
        "id": job.id,
        "created_at": job.created_at,
        "ended_at": job.ended_at,
        "settings": json.dumps(dict(job.settings)),
        "status": str(job.status),
    }


def job_of(row: AnyRow) -> JobRecord:
    """Return the job in a row."""
    return JobRecord(
        id=row.id,
        created_at=row.created_at,
        ended_at=row.ended_at,
        settings=json.loads(row.settings),
        status=JobStatus(row.status),
    )
