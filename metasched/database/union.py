"""Several databases as one: the first is written to, all are looked up.

A `Union` serves the best of all; an `OrderedUnion` the first that has a record, such as a local
cache before the server of a team.
"""

# ruff: noqa: D102 - the docstrings of the methods are those of AbstractDatabase

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import final

from metasched.database.database import AbstractDatabase, ProgramOrHash
from metasched.database.equality import Equality
from metasched.database.records import JobRecord, Stats, TuningRecord, Workload, merge_records
from metasched.database.refusals import check_count, unknown_job
from metasched.errors import DatabaseError, UsageError
from metasched.measure.records import Status
from metasched.target import Target

_Key = tuple[str, str, str]


class _Stack(AbstractDatabase):
    """What both kinds share: reading goes through all members, writing to the first."""

    def __init__(self, *members: AbstractDatabase) -> None:
        if not members:
            raise UsageError("a union of databases needs at least one")
        if len(set(map(id, members))) < len(members):
            raise UsageError("a union of databases has one twice; give each once")
        self.members = members
        self.url = " + ".join(member.url for member in members)

    @property
    def first(self) -> AbstractDatabase:
        """The member that is written to."""
        return self.members[0]

    def close(self) -> None:
        for member in self.members:
            member.close()

    def put_many(self, records: Iterable[TuningRecord]) -> None:
        self.first.put_many(records)

    def records(
        self,
        program: ProgramOrHash | None = None,
        target: Target | None = None,
        job_id: str | None = None,
        statuses: Collection[Status] | None = None,
    ) -> Iterator[TuningRecord]:
        merged: dict[_Key, TuningRecord] = {}
        for member in self.members:
            for record in member.records(program, target):
                key = record.workload.hash, record.target.key(), record.program_hash
                merged[key] = merge_records(merged[key], record) if key in merged else record
        return (
            record
            for record in merged.values()
            if job_id in (None, record.job_id) and (statuses is None or record.status in statuses)
        )

    def measured_hashes(self, program: ProgramOrHash, target: Target) -> frozenset[str]:
        found = (member.measured_hashes(program, target) for member in self.members)
        return frozenset[str]().union(*found)

    def stats(self, program: ProgramOrHash | None = None, target: Target | None = None) -> Stats:
        found = list(self.records(program, target))
        is_whole = program is None and target is None
        named = {record.job_id for record in found} - {None}
        return Stats(
            workloads=len({record.workload.hash for record in found}),
            targets=len({record.target.key() for record in found}),
            records=len(found),
            servable=sum(record.is_servable for record in found),
            jobs=len(self.jobs() if is_whole else named),
            by_status=Counter(record.status for record in found),
        )

    def workloads(self) -> tuple[Workload, ...]:
        found: dict[str, Workload] = {}
        for member in self.members:
            for workload in member.workloads():
                found.setdefault(workload.hash, workload)
        return tuple(found.values())

    def workloads_like(self, equality: Equality, key: str) -> tuple[Workload, ...]:
        found = (w for member in self.members for w in member.workloads_like(equality, key))
        return tuple({w.hash: w for w in found}.values())

    def targets(self, program: ProgramOrHash) -> tuple[Target, ...]:
        found = (target for member in self.members for target in member.targets(program))
        return tuple({target.key(): target for target in found}.values())

    def prune(self, keep: int) -> int:
        return self.first.prune(keep)

    def put_job(self, job: JobRecord) -> None:
        self.first.put_job(job)

    def job(self, job_id: str) -> JobRecord:
        for member in self.members:
            try:
                return member.job(job_id)
            except DatabaseError:
                continue
        raise unknown_job(job_id)

    def jobs(self) -> tuple[JobRecord, ...]:
        return tuple({job.id: job for m in self.members for job in m.jobs()}.values())

    def save_dispatch(self, family: str, target_key: str, name: str, text: str) -> None:
        self.first.save_dispatch(family, target_key, name, text)

    def load_dispatch(self, family: str, target_key: str) -> str | None:
        found = (member.load_dispatch(family, target_key) for member in self.members)
        return next((text for text in found if text is not None), None)

    def dispatches(self) -> tuple[tuple[str, str, str], ...]:
        found: dict[tuple[str, str], str] = {}
        for member in self.members:
            for family, target_key, text in member.dispatches():
                found.setdefault((family, target_key), text)
        return tuple((*keys, text) for keys, text in found.items())

    def save_model(self, target_key: str, name: str, text: str, features: str = "") -> None:
        self.first.save_model(target_key, name, text, features)

    def load_model(self, target_key: str, name: str, features: str = "") -> str | None:
        found = (member.load_model(target_key, name, features) for member in self.members)
        return next((text for text in found if text is not None), None)


@final
class Union(_Stack):
    """Serves the fastest records of all members; a candidate that several know counts once.

    A candidate that any member knows to be wrong is not served.
    """

    def top(self, program: ProgramOrHash, target: Target, k: int) -> tuple[TuningRecord, ...]:
        check_count("top", "k", k)
        merged: dict[str, TuningRecord] = {}
        for member in self.members:
            for record in member.top(program, target, k):
                known = merged.get(record.program_hash)
                merged[record.program_hash] = (
                    record if known is None else merge_records(known, record)
                )
        wrong = {
            record.program_hash
            for member in self.members
            for record in member.records(program, target, statuses=(Status.WRONG_RESULT,))
        }
        servable = [r for h, r in merged.items() if r.is_servable and h not in wrong]
        return tuple(sorted(servable, key=lambda record: record.time_s or 0.0)[:k])


@final
class OrderedUnion(_Stack):
    """Serves what the first member that has a record for the program and target serves."""

    def top(self, program: ProgramOrHash, target: Target, k: int) -> tuple[TuningRecord, ...]:
        found = (member.top(program, target, k) for member in self.members)
        return next((records for records in found if records), ())

    def best(self, program: ProgramOrHash, target: Target) -> TuningRecord | None:
        found = (member.best(program, target) for member in self.members)
        return next((record for record in found if record is not None), None)
