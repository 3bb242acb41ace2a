"""The tuning loop with stub workers: budgets, failures, duplicates, the final, determinism."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import pytest

from metasched import ops
from metasched.database import AbstractDatabase, JobStatus, TuningRecord, open_database
from metasched.errors import MeasureError, UsageError
from metasched.ir.stmt import Program
from metasched.measure.records import AnyResult, BuildResult, RunResult, Status
from metasched.schedule.schedule import Schedule
from metasched.space.postprocs import AbstractPostproc, Rejected
from metasched.space.space import Space
from metasched.target import Target
from metasched.task import Progress
from metasched.tuning import TuneResult, tune
from tests.core.stub_workers import BASELINE_S, StubWorkers, seconds

# The analytic prior needs the rates of this host, which are measured with a compiled program.
pytestmark = pytest.mark.cc

MATMUL = ops.matmul(m=64, n=48, k=32)


def search(
    workers: StubWorkers,
    database: AbstractDatabase,
    trials: int = 12,
    program: Program = MATMUL,
    seed: int = 0,
    seconds: float | None = None,
    space: Space | None = None,
    progress: Callable[[Progress], None] | bool = False,
) -> TuneResult:
    result = tune(
        program, database=database, workers=workers, trials=trials, seed=seed, seconds=seconds,
        space=space, progress=progress, model="analytic",
    )  # fmt: skip
    assert isinstance(result, TuneResult)
    return result


def records_of(database: AbstractDatabase) -> list[TuningRecord]:
    return list(database.records())


def test_every_trial_becomes_one_record_and_the_best_is_served() -> None:
    workers = StubWorkers()
    with open_database("memory:") as database:
        result = search(workers, database, trials=12)
        records = records_of(database)
    assert len(workers.runs) == len(set(workers.runs)) == 12
    assert [r.program_hash for r in records] == workers.runs
    assert result.baseline_s == BASELINE_S
    fastest = min(workers.runs[1:], key=seconds)
    assert result.best is not None
    assert result.best.program_hash == fastest
    assert result.best_s == pytest.approx(seconds(fastest), rel=0.02)
    assert result.curve[0] == (1, BASELINE_S)
    assert [s for _, s in result.curve] == sorted((s for _, s in result.curve), reverse=True)
    assert not workers.closed, "the caller closes the workers it gave"


def test_the_final_measures_the_closest_again_and_joins_their_samples() -> None:
    workers = StubWorkers()
    with open_database("memory:") as database:
        search(workers, database, trials=40)
        records = {r.program_hash: r for r in records_of(database)}
    ranked = sorted(workers.runs[1:], key=seconds)
    close = [h for h in ranked[:4] if seconds(h) <= 1.15 * seconds(ranked[0])]
    assert len(close) > 1, "or there is nothing to compare"
    assert workers.compared == [tuple(close)]
    assert all(len(records[h].samples_s) == 3 + 15 for h in close)
    assert all(len(r.samples_s) == 3 for h, r in records.items() if h not in close)


def test_same_seed_gives_the_same_traces() -> None:
    def traces(seed: int) -> list[str]:
        with open_database("memory:") as database:
            search(StubWorkers(), database, trials=16, seed=seed)
            return [r.trace for r in records_of(database)]

    assert traces(3) == traces(3)
    assert traces(3) != traces(4)


FAILURES = [
    (Status.BUILD_ERROR, "gcc: something is missing\nin line 2"),
    (Status.BUILD_TIMEOUT, "the build took longer than 15 s"),
    (Status.LOST, "the builder died"),
]


@pytest.mark.parametrize(("status", "message"), FAILURES)
def test_failing_builds_spend_trials_and_are_on_record(status: Status, message: str) -> None:
    def fail_odd(number: int, result: BuildResult) -> BuildResult:
        if number % 2 == 0:
            return result
        return BuildResult(result.candidate_id, status, message)

    workers = StubWorkers(on_build=fail_odd)
    with open_database("memory:") as database:
        result = search(workers, database, trials=11)
        counts = Counter(r.status for r in records_of(database))
        failed = next(r for r in records_of(database) if r.status is status)
    assert result.failures == {status.value: 5}
    assert counts[Status.OK] == 6
    assert result.trials == result.measured == 11
    assert result.reasons[message.splitlines()[0]] == 5
    assert failed.message == message
    assert json.loads(failed.trace), "what failed can be replayed"


@pytest.mark.parametrize("status", [Status.RUN_TIMEOUT, Status.RUN_ERROR, Status.WRONG_RESULT])
def test_what_fails_in_a_run_is_never_served(status: Status) -> None:
    def fail_fast_ones(number: int, result: RunResult) -> RunResult:
        if result.samples_s[0] > 0.75 * BASELINE_S:
            return result
        return replace(result, status=status, message=f"a {status}", samples_s=(), max_error=None)

    workers = StubWorkers(on_run=fail_fast_ones)
    with open_database("memory:") as database:
        result = search(workers, database, trials=16)
        failed = {r.program_hash for r in records_of(database) if r.status is status}
    assert failed == {h for h in workers.runs[1:] if seconds(h) <= 0.75 * BASELINE_S}
    assert result.failures == {status.value: len(failed)}
    assert len(failed) > 2, "or nothing failed"
    assert result.best is not None
    assert result.best.program_hash not in failed
    assert all(failed.isdisjoint(final) for final in workers.compared)


def test_a_job_whose_builds_are_all_lost_ends_and_tries_again_later() -> None:
    def lose(number: int, result: BuildResult) -> BuildResult:
        return BuildResult(result.candidate_id, Status.LOST, "the builder died")

    with open_database("memory:") as database:
        result = search(StubWorkers(on_build=lose), database, trials=6)
        assert (result.measured, result.failures) == (6, {"lost": 5})
        assert result.best is not None, "the default schedule"
        assert result.best_s == result.baseline_s
        # Nothing is known of what was lost, so it is no trial of the next job.
        again = search(StubWorkers(), database, trials=6)
    assert (again.trials, again.measured) == (6, 5)
    assert not again.failures


@final
@dataclass(frozen=True)
class RefuseAll(AbstractPostproc):
    name: ClassVar[str] = "refuse_all"

    def apply(self, schedule: Schedule, target: Target) -> Schedule | Rejected:
        return Rejected(self.name, "nothing is good enough")


def test_a_space_of_refused_candidates_ends_and_says_why() -> None:
    space = replace(Space.default(), postprocs=(RefuseAll(),))
    with open_database("memory:") as database:
        result = search(StubWorkers(), database, trials=4, space=space)
        statuses = Counter(r.status for r in records_of(database))
        assert result.trials == 1, "refused candidates cost no trial"
        assert statuses == {Status.OK: 1, Status.REJECTED: result.failures["rejected"]}
        assert result.reasons == {"nothing is good enough": result.failures["rejected"]}
    assert result.ended.endswith("left nothing to measure: nothing is good enough")


def pointless(sch: Schedule) -> None:
    """Thousands of decisions, and none makes a difference."""
    sch.sample_perfect_tile(sch.get_loops(sch.get_block("c"))[0], n=6, max_innermost_factor=64)


def test_candidates_that_come_to_the_same_program_are_measured_once() -> None:
    workers = StubWorkers()
    space = Space.from_function(pointless)
    with open_database("memory:") as database:
        result = search(workers, database, trials=50, space=space)
    assert len(workers.runs) == result.trials <= 2
    assert result.ended.endswith("they came to programs that were measured before")


def test_a_time_limit_ends_the_search_with_what_there_is() -> None:
    with open_database("memory:") as database:
        result = search(StubWorkers(), database, trials=100_000, seconds=0.3)
        (job,) = database.jobs()
        assert len(records_of(database)) == result.trials
    assert result.ended == "0.3 seconds were over"
    assert 1 <= result.trials < 100_000
    assert result.best is not None
    assert job.status is JobStatus.DONE


def test_weights_decide_who_gets_more_of_the_budget() -> None:
    light, heavy = ops.matmul(m=64, n=48, k=16), MATMUL
    with open_database("memory:") as database:
        results = tune(
            [(light, 1.0), (heavy, 50.0)],
            database=database, workers=StubWorkers(), trials=66, model="analytic",
        )  # fmt: skip
    assert isinstance(results, tuple)
    assert sum(r.trials for r in results) == 66
    assert results[0].program is light
    assert results[1].trials > 2 * results[0].trials >= 2


@pytest.mark.parametrize("status", [Status.WRONG_RESULT, Status.RUN_ERROR])
def test_a_program_whose_default_fails_cannot_be_tuned(status: Status) -> None:
    def fail(result: RunResult) -> RunResult:
        return replace(result, status=status, message="it overflows", samples_s=())

    with open_database("memory:") as database:
        with pytest.raises(MeasureError, match="'matmul' cannot be measured: it overflows"):
            search(StubWorkers(on_default=fail), database)
        (job,) = database.jobs()
        assert job.status is JobStatus.FAILED
        assert [r.status for r in records_of(database)] == [status]


def test_nothing_is_proposed_while_a_measurement_shares_the_cores() -> None:
    workers, others = StubWorkers(shares_cores=True), StubWorkers()
    for stub in (workers, others):
        with open_database("memory:") as database:
            assert search(stub, database, trials=24).trials == 24
    assert workers.overlaps == 0
    assert others.overlaps > 0, "workers elsewhere are kept busy meanwhile"


def test_snapshots_follow_the_job() -> None:
    seen: list[Progress] = []
    with open_database("memory:") as database:
        search(StubWorkers(), database, trials=10, progress=seen.append)
    trials = [p.trials for p in seen]
    assert trials == sorted(trials)
    assert trials[-1] == 10
    # More may be building than is left to measure: many come to a program that was measured.
    assert all(p.trials + p.running <= p.budget == 10 for p in seen)
    assert all(p.tasks == 1 and p.elapsed_s > 0 for p in seen)


def test_what_is_told_to_observers_is_on_record_already() -> None:
    with open_database("memory:") as database:

        def check(progress: Progress) -> None:
            assert len(records_of(database)) == progress.trials

        search(StubWorkers(), database, trials=6, progress=check)


def test_results_of_an_interrupted_job_do_not_disturb_the_next() -> None:
    workers = StubWorkers()

    def stop(progress: Progress) -> None:
        if progress.trials == 5:
            raise KeyboardInterrupt

    with open_database("memory:") as database:
        with pytest.raises(KeyboardInterrupt):
            search(workers, database, trials=12, progress=stop)
        assert len(records_of(database)) == 5
        # The stub still holds builds and runs of the first job.
        result = search(workers, database, trials=12)
        assert len(records_of(database)) == 12
    assert (result.trials, result.measured) == (12, 7)


class LateWorkers(StubWorkers):
    """After the third candidate's result, another one of it comes from a worker given up."""

    def poll(self, timeout_s: float = 0.0) -> Sequence[AnyResult]:
        found = list(super().poll(timeout_s))
        timed = [r for r in found if isinstance(r, RunResult) and len(self.runs) == 3]
        return [*found, *(replace(r, samples_s=(9.0,), is_late=True) for r in timed)]


def test_a_late_result_adds_samples_and_counts_for_no_trial() -> None:
    workers = LateWorkers()
    with open_database("memory:") as database:
        result = search(workers, database, trials=6)
        records = records_of(database)
    assert (result.trials, len(records)) == (6, 6)
    (late,) = [r for r in records if 9.0 in r.samples_s]
    assert len(late.samples_s) > 1


def test_a_run_that_was_lost_is_measured_when_it_is_proposed_again() -> None:
    def lose_first(number: int, result: RunResult) -> RunResult:
        if number:
            return result
        return RunResult(result.candidate_id, Status.LOST, "its worker ended")

    workers = StubWorkers(on_run=lose_first)
    with open_database("memory:") as database:
        search(workers, database, trials=40)
        records = records_of(database)
    first = workers.runs[1]
    assert workers.runs.count(first) in (1, 2)
    statuses = [r.status for r in records if r.program_hash == first]
    assert statuses == [Status.OK if workers.runs.count(first) == 2 else Status.LOST]


def test_several_targets_have_each_a_search_and_records_of_their_own() -> None:
    targets = [Target("cpu", cores=1), Target("cpu", cores=2)]
    workers = StubWorkers()
    with open_database("memory:") as database:
        results = tune(
            MATMUL, target=targets, database=database, workers=workers, trials=24, model="analytic"
        )
        assert isinstance(results, tuple)
        counts = [database.stats(MATMUL, target).records for target in targets]
        best = [database.best(MATMUL, target) for target in targets]
    assert sum(counts) == 24
    assert min(counts) > 4
    assert [result.best for result in results] == best
    assert [result.trials for result in results] == counts
    with pytest.raises(UsageError, match="tune expects different targets"):
        tune(MATMUL, target=["cpu", "cpu"], workers=workers)
