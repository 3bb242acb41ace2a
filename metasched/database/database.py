"""The contract of a tuning database: what each one stores, and what all of them share.

Read `memory` for the smallest implementation; `metasched.testing.database_contract` holds the
tests that every implementation passes.
"""

from __future__ import annotations

import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self, TypeAlias

from metasched.database.agreement import Disagreement, MergeReport, from_source
from metasched.database.codec import read_file, write_lines
from metasched.database.equality import Equality, loose_keys
from metasched.database.records import (
    CandidateKey,
    JobRecord,
    JobStatus,
    Stats,
    TuningRecord,
    Workload,
    candidate_key,
    now,
    steady_winner,
)
from metasched.errors import DatabaseError, UsageError
from metasched.measure.records import Status
from metasched.target import Target

if TYPE_CHECKING:
    from metasched.database.explain import Explanation
    from metasched.database.lookup import Applied
    from metasched.ir.stmt import Program

ProgramOrHash: TypeAlias = "Program | str"
"""An unscheduled program, or its `Workload.hash`."""

BATCH = 256
"""Records that one transaction of a bulk write holds: enough for speed, short for others."""

TIED = 4
"""Records that `best` looks at, for near ties."""


def workload_hash(program: ProgramOrHash) -> str:
    """Return the `Workload.hash` of a program; a hash is returned as it is."""
    if isinstance(program, str):
        return program
    from metasched.ir.canonical import canonical_hash

    return canonical_hash(program)


class AbstractDatabase(ABC):
    """Keeps every tuning result and serves the best.

    Lifecycle: the tuner opens one database, calls `start_job`, asks `measured_hashes` once for each
    workload, then calls `put_many` for each batch of results and `end_job` at the end. A compiler
    opens one, calls `best` or `top` once for each program and closes it. All methods may be called
    from any thread. A database is not sent to another process; the process opens its own by
    ``url``. Records that are handed out are frozen values that outlive the database.

    One record is kept for each candidate, which is a workload, a target and the hash of the
    scheduled program. Putting a candidate again merges the two by
    `metasched.database.records.merge_records`, so a finalist that is measured again gains samples
    and nothing that is written twice counts twice.

    A subclass implements the abstract methods; the rest is built on them.
    """

    url: str
    is_locked: ClassVar[bool] = False
    """Whether a kernel whose source is not the one on record is refused; so in a snapshot."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Release files and connections; closing twice does nothing, any other call raises."""

    def change_schema(self, revision: str) -> None:
        """Bring the tables to the schema of an earlier release, and close the database.

        Raises:
            UsageError: There is no such schema, or this kind of database has none.
        """
        raise UsageError(f"database '{self.url}' has no schema that could be changed")

    @abstractmethod
    def put_many(self, records: Iterable[TuningRecord]) -> None:
        """Write records, merging each with the one of the same candidate.

        Each batch of `BATCH` records is written whole or not at all.

        Raises:
            DatabaseError: A record names a job that was never started, or writing failed.
        """

    def put(self, record: TuningRecord) -> None:
        """Write one record, merging it with the one of the same candidate."""
        self.put_many((record,))

    @abstractmethod
    def top(self, program: ProgramOrHash, target: Target, k: int) -> tuple[TuningRecord, ...]:
        """Return the ``k`` fastest servable records for exactly this target, the best first."""

    def best(self, program: ProgramOrHash, target: Target) -> TuningRecord | None:
        """Return the servable record to use for exactly this target, or ``None``.

        It is the fastest one, or an earlier one that the noise does not tell apart from it; see
        `metasched.database.records.steady_winner`.
        """
        return steady_winner(self.top(program, target, TIED))

    def traces(self, program: ProgramOrHash, target: Target, k: int) -> tuple[str, ...]:
        """Return the JSON traces of the ``k`` fastest servable records, the best first."""
        return tuple(record.trace for record in self.top(program, target, k))

    @abstractmethod
    def records(
        self,
        program: ProgramOrHash | None = None,
        target: Target | None = None,
        job_id: str | None = None,
        statuses: Collection[Status] | None = None,
    ) -> Iterator[TuningRecord]:
        """Yield the records that match every argument given, in the order they were first put."""

    @abstractmethod
    def measured_hashes(self, program: ProgramOrHash, target: Target) -> frozenset[str]:
        """Return the program hashes that need no measuring: all on record but the lost ones."""

    @abstractmethod
    def stats(self, program: ProgramOrHash | None = None, target: Target | None = None) -> Stats:
        """Count what is held, in all or for one workload or target."""

    @abstractmethod
    def workloads(self) -> tuple[Workload, ...]:
        """Return all workloads, in the order they were first put."""

    @abstractmethod
    def save_dispatch(self, family: str, target_key: str, name: str, text: str) -> None:
        """Keep a dispatch tree (`metasched.shapes`), replacing the one of the same keys.

        Args:
            family: What it is for: the key of the programs with the dimension left open.
            target_key: ``Target.key()`` of what its schedules were measured on.
            name: For people.
            text: The tree itself, as JSON.
        """

    @abstractmethod
    def load_dispatch(self, family: str, target_key: str) -> str | None:
        """Return the text of a dispatch tree, ``None`` where there is none."""

    def dispatches(self) -> tuple[tuple[str, str, str], ...]:
        """Return family, target key and text of every dispatch tree; none by default."""
        return ()

    def workloads_like(self, equality: Equality, key: str) -> tuple[Workload, ...]:
        """Return the workloads that have ``key`` under a looser equality, the first put first.

        Looks at every workload; a database with an index of these keys overrides it.
        """
        return tuple(w for w in self.workloads() if loose_keys(w.text).get(equality) == key)

    @abstractmethod
    def targets(self, program: ProgramOrHash) -> tuple[Target, ...]:
        """Return the targets that a workload has records for, in the order they were first put."""

    @abstractmethod
    def prune(self, keep: int) -> int:
        """Keep the ``keep`` fastest servable records of each workload and target.

        Every other record is deleted, failures too, so a resumed job may measure them again.

        Returns:
            How many records were deleted.
        """

    @abstractmethod
    def put_job(self, job: JobRecord) -> None:
        """Write a job, replacing the one of the same id."""

    @abstractmethod
    def job(self, job_id: str) -> JobRecord:
        """Return one job.

        Raises:
            DatabaseError: There is no such job.
        """

    @abstractmethod
    def jobs(self) -> tuple[JobRecord, ...]:
        """Return all jobs, in the order they were started."""

    def start_job(self, settings: Mapping[str, object]) -> JobRecord:
        """Write a new running job and return it; ``settings`` are JSON values."""
        job = JobRecord(id=uuid.uuid4().hex, created_at=now(), settings=dict(settings))
        self.put_job(job)
        return job

    def end_job(self, job_id: str, status: JobStatus = JobStatus.DONE) -> JobRecord:
        """Mark a job as ended now and return it."""
        job = replace(self.job(job_id), ended_at=now(), status=status)
        self.put_job(job)
        return job

    @abstractmethod
    def save_model(self, target_key: str, name: str, text: str, features: str = "") -> None:
        """Keep the text of a cost model, replacing the one of the same keys.

        Args:
            target_key: ``Target.key()`` of what it predicts for.
            name: Kind of model.
            text: The model itself, as JSON.
            features: Version of the features it was trained on.
        """

    @abstractmethod
    def load_model(self, target_key: str, name: str, features: str = "") -> str | None:
        """Return the text of a saved cost model, ``None`` where there is none."""

    def apply(
        self, program: Program, target: Target, equality: Equality = Equality.STRUCTURAL
    ) -> Applied | None:
        """Return a program with the best schedule on record; see `metasched.database.lookup`."""
        from metasched.database.lookup import apply

        return apply(self, program, target, equality)

    def explain(self, program: Program, target: Target) -> Explanation:
        """Return why a lookup hits or misses, field by field."""
        from metasched.database.explain import explain

        return explain(self, program, target)

    def explain_miss(self, program: ProgramOrHash, target: Target) -> str:
        """Return one line: which part of the key a lookup missed on, and the closest record."""
        from metasched.database.miss import explain_miss

        return explain_miss(self, program, target)

    def export(self, path: str | os.PathLike[str]) -> int:
        """Write all jobs and records as JSON lines; the file appears whole or not at all.

        Returns:
            How many records were written.
        """
        path = Path(path)
        partial = path.with_name(path.name + ".partial")
        count = self.stats().records
        try:
            with partial.open("w", encoding="utf-8") as file:
                for line in write_lines(self.jobs(), self.records()):
                    file.write(line + "\n")
            partial.replace(path)
        except OSError as error:
            raise DatabaseError(
                f"cannot write '{path}': {error.strerror}; choose a writable path"
            ) from error
        finally:
            partial.unlink(missing_ok=True)
        return count

    def import_(self, path: str | os.PathLike[str]) -> int:
        """Merge the jobs and records of an export into this database.

        The whole file is checked before the first record is written. An import that is cut short
        can be repeated, since merging a record twice changes nothing.

        Returns:
            How many records were read.

        Raises:
            DatabaseError: The file is no export, or a line is malformed; nothing was written.
        """
        for _ in read_file(Path(path)):
            pass
        return self._put_items(read_file(Path(path)))

    def merge(self, other: AbstractDatabase, source: str | None = None) -> MergeReport:
        """Merge all jobs and records of another database into this one.

        Records keep where their samples are from. A candidate that both have timed, with times
        that do not agree, keeps all samples and is marked as suspect.

        Args:
            other: what is merged.
            source: what it is called in the provenance; its URL by default.
        """
        if other is self:
            raise UsageError("merge: a database cannot be merged into itself; give another one")
        name = source or other.label
        self._put_items(other.jobs())
        count, shared, found, items = 0, 0, list[Disagreement](), iter(other.records())
        while batch := tuple(islice(items, BATCH)):
            known = self.known(batch)
            merged = [from_source(r, known.get(candidate_key(r)), name) for r in batch]
            shared += sum(one.is_shared for one in merged)
            found += [one.disagreement for one in merged if one.disagreement is not None]
            self.put_many(one.record for one in merged)
            count += len(batch)
        return MergeReport(name, count, shared, tuple(found))

    @property
    def label(self) -> str:
        """What the database is called where others may read it: its URL without a password."""
        return self.url

    def known(self, records: Collection[TuningRecord]) -> dict[CandidateKey, TuningRecord]:
        """Return what is on record of the candidates of ``records``.

        Goes through the records of their workloads; a database with an index overrides it.
        """
        wanted = {candidate_key(record) for record in records}
        pairs = {(r.workload.hash, r.target.key()): r for r in records}
        found = (old for r in pairs.values() for old in self.records(r.workload.hash, r.target))
        return {key: old for old in found if (key := candidate_key(old)) in wanted}

    def _put_items(self, items: Iterable[TuningRecord | JobRecord]) -> int:
        count, items = 0, iter(items)
        while batch := tuple(islice(items, BATCH)):
            for job in batch:
                if isinstance(job, JobRecord):
                    self.put_job(job)
            records = [record for record in batch if isinstance(record, TuningRecord)]
            self.put_many(records)
            count += len(records)
        return count
