"""The tables. A change here needs a migration in `migrations/versions` and a new `HEAD`.

Read `statements` next. No object of these classes leaves this package.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    MetaData,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# Named constraints, so that a migration can drop one on every database.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC; stored without a zone, since SQLite keeps none."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Drop the zone on the way in."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Add the zone on the way out."""
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(naming_convention=NAMING)


class WorkloadRow(Base):
    """An unscheduled program."""

    __tablename__ = "workloads"

    id: Mapped[int] = mapped_column(primary_key=True)
    hash: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)


class VariantRow(Base):
    """Another spelling of a workload's program, which some records were tuned on."""

    __tablename__ = "variants"

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)


class WorkloadKeyRow(Base):
    """A key of a workload under a looser equality than that of its hash."""

    __tablename__ = "workload_keys"

    workload_id: Mapped[int] = mapped_column(ForeignKey("workloads.id"), primary_key=True)
    equality: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text)

    __table_args__ = (Index("ix_workload_keys_key", "key"),)


class TargetRow(Base):
    """A target: its key, and all its fields as JSON text."""

    __tablename__ = "targets"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(Text, unique=True)
    kind: Mapped[str] = mapped_column(Text)
    fields: Mapped[str] = mapped_column(Text)


class JobRow(Base):
    """A run of the tuner; ``settings`` is JSON text."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    settings: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)


class RecordRow(Base):
    """A candidate. ``time_s`` is the median sample where the record may be served, else null.

    ``samples_s``, ``evidence``, ``timers`` and ``sources`` are JSON text. ``variant_id`` names the
    spelling of the program that the trace replays on, where it is not the workload's; it is no
    declared foreign key, since SQLite cannot add one to a table that exists.
    """

    __tablename__ = "records"

    id: Mapped[int] = mapped_column(primary_key=True)
    workload_id: Mapped[int] = mapped_column(ForeignKey("workloads.id"))
    target_id: Mapped[int] = mapped_column(ForeignKey("targets.id"))
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"), index=True)
    program_hash: Mapped[str] = mapped_column(Text)
    trace: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    message: Mapped[str] = mapped_column(Text)
    time_s: Mapped[float | None] = mapped_column(Double)
    samples_s: Mapped[str] = mapped_column(Text)
    evidence: Mapped[str] = mapped_column(Text)
    timers: Mapped[str] = mapped_column(Text)
    source_hash: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    format_version: Mapped[int]
    variant_id: Mapped[int | None]
    trust: Mapped[str] = mapped_column(Text, server_default="unverified")
    trust_note: Mapped[str] = mapped_column(Text, server_default="")
    verified_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    sources: Mapped[str] = mapped_column(Text, server_default="{}")

    __table_args__ = (
        UniqueConstraint("workload_id", "target_id", "program_hash"),
        Index("ix_records_best", "workload_id", "target_id", "status", "time_s", "id"),
    )


class DispatchRow(Base):
    """Schedules for a dynamic dimension and the tree that picks one; ``text`` is JSON."""

    __tablename__ = "dispatches"

    id: Mapped[int] = mapped_column(primary_key=True)
    family: Mapped[str] = mapped_column(Text)
    target_key: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (UniqueConstraint("family", "target_key"),)


class ModelRow(Base):
    """A saved cost model; ``text`` is JSON, ``features`` the version of what it was trained on."""

    __tablename__ = "models"

    id: Mapped[int] = mapped_column(primary_key=True)
    target_key: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    features: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (UniqueConstraint("target_key", "name", "features"),)
