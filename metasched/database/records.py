"""What a tuning database keeps: frozen records, and the rule that merges two of one candidate.

Nothing here knows how records are stored. Read `database` next, then `codec` for the text form.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from statistics import median
from typing import TYPE_CHECKING, TypeAlias

from metasched.errors import UsageError
from metasched.measure.records import Status
from metasched.measure.statistics import relative_half_width
from metasched.target import Target

if TYPE_CHECKING:
    from metasched.ir.stmt import Program

FORMAT_VERSION = 2
"""Version of the record layout; a reader refuses records of a later one."""

NEAR_TIE = 0.01
"""Times that differ by more than this share are never taken for equal, however noisy they are."""

Scalar: TypeAlias = str | int | float | bool | None


class JobStatus(StrEnum):
    """How a tuning job stands."""

    RUNNING = "running"
    DONE = "done"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


class Trust(StrEnum):
    """What the last `metasched db verify` found about a record."""

    UNVERIFIED = "unverified"
    CURRENT = "current"
    SUSPECT = "suspect"
    STALE = "stale"


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Workload:
    """An unscheduled program as a database key.

    Attributes:
        hash: of the canonical form (`metasched.ir.canonical`): equal where names, the order of
            inputs and trivial rewrites are all that differs.
        name: of the program.
        text: the program itself; traces of its records replay on exactly this one.
    """

    hash: str
    name: str
    text: str = ""

    @staticmethod
    def from_program(program: Program) -> Workload:
        """Return the key of ``program``."""
        from metasched.ir.canonical import canonical_hash

        return Workload(canonical_hash(program), program.name, str(program))


@dataclass(frozen=True, slots=True)
class TuningRecord:
    """One candidate of one workload on one target, measured or failed.

    Attributes:
        workload: What was computed.
        target: What it was built for and ran on.
        trace: JSON text of the schedule trace with its decisions; empty where there is none.
        program_hash: Structural hash of the scheduled program; with workload and target the
            identity of the candidate. One that could not be replayed has the hash of its trace.
        status: How building, running and checking ended.
        message: Why it failed; empty when it did not. Characters that are no text (a compiler
            may print any byte) are replaced.
        samples_s: Raw times of single runs in seconds, in the order they were measured.
        evidence: What the check of the output was: ``reference_hash``, ``seed``, ``tolerance``
            and ``max_error``, the last two on one scale; ``noise``, half the 95 % interval of the
            median as a share of it; ``noise_floor``, the same of a fixed piece of work on the
            worker that ran it; ``toolchain``. A non-finite number becomes ``None``, since
            JSON has no word for it.
        timers: Seconds spent in ``queue``, ``build``, ``load``, ``check`` and ``run``.
        source_hash: Hash of the generated source.
        job_id: The job that measured it, if it was part of one.
        created_at: When it was measured, with a time zone.
        format_version: Version of this layout.
        trust: What the last verification found; a stale record is not served.
        trust_note: Why.
        verified_at: When that was; None where it never was.
        sources: Samples by the store that they were merged from; they are among ``samples_s``.

    Raises:
        UsageError: A sample or timer is negative or not finite, or ``created_at`` has no time zone.
    """

    workload: Workload
    target: Target
    trace: str
    program_hash: str
    status: Status
    message: str = ""
    samples_s: tuple[float, ...] = ()
    evidence: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])
    timers: Mapping[str, float] = field(default_factory=dict[str, float])
    source_hash: str = ""
    job_id: str | None = None
    created_at: datetime = field(default_factory=now)
    format_version: int = FORMAT_VERSION
    trust: Trust = Trust.UNVERIFIED
    trust_note: str = ""
    verified_at: datetime | None = None
    sources: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])

    def __post_init__(self) -> None:
        _check_seconds("samples_s", self.samples_s)
        _check_seconds("timers", self.timers.values())
        _check_zone("created_at", self.created_at)
        if self.verified_at is not None:
            _check_zone("verified_at", self.verified_at)
        object.__setattr__(self, "samples_s", tuple(self.samples_s))
        # Most records have none of these, and a lookup makes one.
        if self.message:
            object.__setattr__(self, "message", _text(self.message))
        if self.trust_note:
            object.__setattr__(self, "trust_note", _text(self.trust_note))
        if self.sources:
            object.__setattr__(self, "sources", {k: tuple(v) for k, v in self.sources.items()})
        object.__setattr__(self, "evidence", {k: _finite(v) for k, v in self.evidence.items()})

    @property
    def time_s(self) -> float | None:
        """Median of the samples in seconds, ``None`` without samples."""
        return median(self.samples_s) if self.samples_s else None

    @property
    def noise_floor(self) -> float:
        """What times that its worker measured differ by of themselves; 0 where nobody knows."""
        floor = self.evidence.get("noise_floor")
        return float(floor) if isinstance(floor, int | float) and floor > 0 else 0.0

    @property
    def is_servable(self) -> bool:
        """Whether a lookup may return it.

        It ran, was timed, its output was proved right, and nothing says that this is out of date.
        """
        proved = self.status == Status.OK and bool(self.samples_s) and passes(self.evidence)
        return proved and self.trust != Trust.STALE


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One run of the tuner: its settings (JSON values) and how it ended.

    Raises:
        UsageError: The settings are not JSON.
    """

    id: str
    created_at: datetime
    ended_at: datetime | None = None
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    status: JobStatus = JobStatus.RUNNING

    def __post_init__(self) -> None:
        try:
            settings = json.loads(json.dumps(dict(self.settings), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"job settings are no JSON values: {error}; give plain ones"
            ) from error
        object.__setattr__(self, "settings", settings)


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of what a database, or a part of it, holds; ``servable`` is part of ``ok``."""

    workloads: int
    targets: int
    records: int
    servable: int
    jobs: int
    by_status: Mapping[Status, int]


def passes(evidence: Mapping[str, Scalar]) -> bool:
    """Whether evidence proves an output right: ``max_error`` is at most ``tolerance``.

    >>> passes({"tolerance": 1e-4, "max_error": 2e-6})
    True
    >>> passes({"tolerance": 1e-4})
    False
    """
    error, tolerance = evidence.get("max_error"), evidence.get("tolerance")
    if not isinstance(error, int | float) or not isinstance(tolerance, int | float):
        return False
    return 0 <= error <= tolerance


CandidateKey: TypeAlias = tuple[str, str, str]
"""What identifies a candidate: hash of its workload, key of its target, hash of its program."""


def candidate_key(record: TuningRecord) -> CandidateKey:
    """Return the candidate of a record."""
    return record.workload.hash, record.target.key(), record.program_hash


def merge_records(old: TuningRecord, new: TuningRecord) -> TuningRecord:
    """Combine two records of one candidate into the one that is kept.

    A wrong result outlives everything: a candidate that failed the check once is never served,
    however often it passes. Otherwise a success beats a failure, and a later failure an earlier
    one. Two successes join their samples, so measuring finalists again refines their time.

    The result does not change when the same record is merged again.
    """
    if old.status == Status.WRONG_RESULT:
        return old
    if new.status == Status.WRONG_RESULT or old.status != Status.OK:
        return new
    if new.status != Status.OK:
        return old
    base = old if passes(old.evidence) or not passes(new.evidence) else new
    judged = new if _verified_s(new) > _verified_s(old) else old
    return replace(
        base,
        samples_s=merge_samples(old.samples_s, new.samples_s),
        trust=judged.trust,
        trust_note=judged.trust_note,
        verified_at=judged.verified_at,
        sources=_merge_sources(old.sources, new.sources),
        evidence=judged.evidence if judged is new and passes(new.evidence) else base.evidence,
        source_hash=new.source_hash if judged is new else base.source_hash,
    )


def _verified_s(record: TuningRecord) -> float:
    return 0.0 if record.verified_at is None else record.verified_at.timestamp()


def _merge_sources(
    old: Mapping[str, tuple[float, ...]], new: Mapping[str, tuple[float, ...]]
) -> dict[str, tuple[float, ...]]:
    return {k: merge_samples(old.get(k, ()), new.get(k, ())) for k in {**old, **new}}


def steady_winner(fastest: Sequence[TuningRecord]) -> TuningRecord | None:
    """Choose the one to serve, given the fastest records with the best first.

    Of those that the noise of the fastest, or of its worker, does not tell apart from it, the
    earliest wins, so that one more sample does not exchange the kernel that everybody runs.
    """
    if not fastest or fastest[0].time_s is None:
        return None
    most_s = tied_s(fastest[0])
    tied = (record for record in fastest if record.time_s is not None and record.time_s <= most_s)
    return min(tied, key=lambda record: record.created_at)


def tied_s(fastest: TuningRecord) -> float:
    """Return the longest time that is not told apart from that of the fastest record."""
    noise = max(relative_half_width(fastest.samples_s), fastest.noise_floor)
    return (fastest.time_s or 0.0) * (1 + min(noise, NEAR_TIE))


def merge_samples(old: tuple[float, ...], new: tuple[float, ...]) -> tuple[float, ...]:
    """Append new samples unless one run holds the other, which tells a copy from a measurement.

    >>> merge_samples((1.0, 2.0), (3.0,))
    (1.0, 2.0, 3.0)
    >>> merge_samples((1.0, 2.0, 3.0), (2.0, 3.0))
    (1.0, 2.0, 3.0)
    """
    if _is_run_of(new, old):
        return old
    return new if _is_run_of(old, new) else old + new


def _is_run_of(part: tuple[float, ...], whole: tuple[float, ...]) -> bool:
    starts = range(len(whole) - len(part) + 1)
    return any(whole[i : i + len(part)] == part for i in starts)


def _check_seconds(name: str, values: Iterable[float]) -> None:
    for value in values:
        if not 0 <= value < math.inf:
            raise UsageError(
                f"{name} has {value}; expected finite seconds of at least zero;"
                " give a failed run a status instead of a time"
            )


def _check_zone(name: str, time: datetime) -> None:
    if time.tzinfo is None:
        raise UsageError(f"{name} {time} has no time zone; use datetime.now(datetime.UTC)")


def _text(message: str) -> str:
    return message.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def _finite(value: Scalar) -> Scalar:
    return None if isinstance(value, float) and not math.isfinite(value) else value
