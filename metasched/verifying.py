"""`verify`: build the winners of a database again, check them with new inputs, time them again.

A winner is then *current* (right, and as fast as recorded), *suspect* (right, but its time differs
by more than the noise), or *stale* (its trace no longer gives the program that was measured). One
that is wrong now becomes a wrong result, which is final: it is never served again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median

from metasched.database import AbstractDatabase, Trust, TuningRecord
from metasched.database.agreement import time_ratio
from metasched.database.evidence import evidence_of
from metasched.database.records import now
from metasched.database.refusals import check_count
from metasched.database.spelling import parsed
from metasched.measure.open import open_workers
from metasched.measure.records import MeasureConfig, Status
from metasched.measure.workers import AbstractWorkers
from metasched.target import Target
from metasched.trial import Trials, Tried


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verifying one record found.

    Attributes:
        record: the record as it is now.
        trust: the verdict; None where the record turned out wrong, or could not be judged.
        reason: why, in one line.
    """

    record: TuningRecord
    trust: Trust | None
    reason: str


def verify(
    database: AbstractDatabase,
    *,
    target: str | Target = "cpu",
    top: int = 1,
    seed: int = 1,
    imported: bool = False,
    workers: str | AbstractWorkers = "local",
    config: MeasureConfig | None = None,
) -> tuple[Verdict, ...]:
    """Verify the winners for a target, and mark their records.

    Args:
        database: what is verified; the marks are written to it.
        target: the machine, which must be this one.
        top: how many of the fastest records of each program, besides the one that is served.
        seed: of the inputs; another than that of tuning checks more.
        imported: also verify records that nothing proves, such as those of another tuner, ``top``
            of each program, those that were fastest there first.
        workers: builders and runners, by name or open; see `metasched.tuning.tune`.
        config: how kernels are measured.

    Raises:
        UsageError: ``top`` is below 1.
        MeasureError: the workers cannot be started.
    """
    check_count("verify", "top", top)
    goal = Target.parse(target)
    pool = open_workers(workers, (goal,)) if isinstance(workers, str) else workers
    try:
        trials = Trials(pool, goal, seed=seed, config=config)
        verdicts: list[Verdict] = []
        for workload in database.workloads():
            found = [
                _verify(record, trials, seed)
                for record in (
                    *_winners(database, workload.hash, goal, top),
                    *(_unproved(database, workload.hash, goal, top) if imported else ()),
                )
            ]
            database.put_many(verdict.record for verdict in found)
            verdicts += found
    finally:
        if pool is not workers:
            pool.close()
    return tuple(verdicts)


def _winners(
    database: AbstractDatabase, workload: str, target: Target, top: int
) -> list[TuningRecord]:
    fastest = database.top(workload, target, top)
    best = database.best(workload, target)
    return [*fastest, *((best,) if best is not None and best not in fastest else ())]


def _unproved(
    database: AbstractDatabase, workload: str, target: Target, top: int
) -> list[TuningRecord]:
    found = database.records(workload, target, statuses=(Status.OK,))
    unproved = [r for r in found if r.trace and not r.is_servable and r.trust != Trust.STALE]
    return sorted(unproved, key=_their_time_s)[:top]


def _their_time_s(record: TuningRecord) -> float:
    time_s = record.evidence.get("their_time_s")
    return float(time_s) if isinstance(time_s, int | float) else float("inf")


def _verify(record: TuningRecord, trials: Trials, seed: int) -> Verdict:
    program = parsed(record.workload.text)
    if program is None:
        return _marked(record, Trust.STALE, "its program cannot be read")
    (tried,) = trials.of(program, [record.trace])
    if tried.output is None or tried.run is None:
        return _unbuilt(record, tried)
    if tried.output.program_hash != record.program_hash:
        return _marked(record, Trust.STALE, "its trace gives another program now")
    match tried.status:
        case Status.OK:
            return _timed(record, tried, trials.reference_hash(program), seed)
        case Status.WRONG_RESULT:
            wrong = replace(record, status=Status.WRONG_RESULT, message=tried.message)
            return Verdict(wrong, None, f"wrong result: {_line(tried)}")
        case Status.LOST:
            return Verdict(record, None, f"not judged: {_line(tried)}")
        case _:
            return _marked(record, Trust.STALE, f"{tried.status}: {_line(tried)}")


def _unbuilt(record: TuningRecord, tried: Tried) -> Verdict:
    if tried.status is Status.LOST:
        return Verdict(record, None, f"not judged: {_line(tried)}")
    return _marked(record, Trust.STALE, f"{tried.status}: {_line(tried)}")


def _timed(record: TuningRecord, tried: Tried, reference_hash: str, seed: int) -> Verdict:
    assert tried.run is not None
    assert tried.output is not None
    samples = tried.run.samples_s
    evidence = evidence_of(
        tried.run, reference_hash=reference_hash, seed=seed, toolchain=record.target.toolchain
    )
    again = replace(
        record,
        samples_s=samples,
        evidence={**record.evidence, **evidence},
        source_hash=tried.output.artefact.source_hash,
    )
    ratio = time_ratio(
        record.samples_s, samples, max(record.noise_floor, tried.run.noise_floor or 0.0)
    )
    if ratio is None:
        return _marked(again, Trust.CURRENT, f"{median(samples) * 1e6:.3g} us again")
    change = f"{(record.time_s or 0.0) * 1e6:.3g} us on record, {median(samples) * 1e6:.3g} us now"
    return _marked(again, Trust.SUSPECT, f"{change} ({ratio:.2f} times)")


def _marked(record: TuningRecord, trust: Trust, reason: str) -> Verdict:
    marked = replace(record, trust=trust, trust_note=reason, verified_at=now())
    return Verdict(marked, trust, reason)


def _line(tried: Tried) -> str:
    return tried.message.splitlines()[0] if tried.message else "no reason given"
