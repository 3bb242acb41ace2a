"""Simulated workers: order, latency, failures, utilisation and determinism."""

from __future__ import annotations

import pytest

from metasched.errors import MeasureError, UsageError
from metasched.measure.records import (
    BuildRequest,
    BuildResult,
    CompareRequest,
    CompareResult,
    RunRequest,
    RunResult,
    Status,
)
from metasched.measure.simulated import Fate, LoadClock, SimulatedWorkers, VirtualClock


def fate(request: BuildRequest) -> Fate:
    """The payload is the latency of the build; negative ones are rejected."""
    build_s = float(request.payload)
    if build_s < 0:
        return Fate("", status=Status.REJECTED, message="too deep", build_s=-build_s)
    return Fate(f"p{build_s}", (build_s / 1000,), build_s=build_s, run_s=0.5)


def build(workers: SimulatedWorkers, *latencies: float) -> None:
    for number, seconds in enumerate(latencies):
        workers.submit_build(BuildRequest(number, "module:build", seconds))


def finish(workers: SimulatedWorkers) -> list[tuple[int, float]]:
    """Ids of all results with the moment at which they were there."""
    found: list[tuple[int, float]] = []
    while results := workers.poll(10.0):
        found += [(result.candidate_id, workers.now()) for result in results]
    return found


def test_a_free_worker_takes_the_oldest_request_and_results_come_when_they_are_due() -> None:
    workers = SimulatedWorkers(fate, builders=2)
    build(workers, 3.0, 1.0, 1.5, 1.0)
    # Worker 1 builds 0, worker 2 builds 1, then 2 at 1.0; 3 starts at 2.5.
    assert finish(workers) == [(1, 1.0), (2, 2.5), (0, 3.0), (3, 3.5)]


def test_polling_waits_no_longer_than_it_may() -> None:
    workers = SimulatedWorkers(fate)
    build(workers, 3.0)
    assert workers.poll(0.0) == []
    assert workers.now() == 0.0
    assert workers.poll(1.0) == []
    assert workers.now() == 1.0
    assert [r.candidate_id for r in workers.poll(10.0)] == [0]
    assert workers.poll(10.0) == ()
    assert workers.now() == 3.0, "with nothing under way no time passes"


def test_a_worker_free_before_the_submission_starts_at_the_submission() -> None:
    clock = VirtualClock()
    workers = SimulatedWorkers(fate, builders=1, clock=clock)
    build(workers, 1.0)
    clock.advance_to(5.0)
    build(workers, 1.0)
    assert [round(moment, 6) for _, moment in finish(workers)] == [5.0, 6.0]


def test_builds_run_and_compare_with_the_times_of_their_fates() -> None:
    workers = SimulatedWorkers(fate)
    build(workers, 1.0, -2.0, 4.0)
    results = [workers.poll(10.0)[0] for _ in range(3)]
    first, rejected, last = results
    assert isinstance(first, BuildResult) and first.output is not None  # noqa: PT018
    assert isinstance(last, BuildResult) and last.output is not None  # noqa: PT018
    assert isinstance(rejected, BuildResult)
    assert (rejected.status, rejected.message) == (Status.REJECTED, "too deep")
    workers.submit_run(RunRequest(7, first.output.artefact))
    workers.submit_run(CompareRequest(8, (last.output.artefact, first.output.artefact)))
    (run,) = workers.poll(10.0)
    (compared,) = workers.poll(10.0)
    assert isinstance(run, RunResult)
    assert (run.samples_s, run.run_s, run.queue_s) == ((0.001,), 0.5, 0.0)
    assert isinstance(compared, CompareResult)
    assert compared.samples_s == ((0.004,), (0.001,))
    assert compared.queue_s == 0.5
    assert compared.run_s == 1.0


def test_runs_that_fail_fail_in_the_runner() -> None:
    workers = SimulatedWorkers(lambda _: Fate("p", status=Status.RUN_ERROR, message="crash"))
    build(workers, 1.0)
    (built,) = workers.poll(10.0)
    assert isinstance(built, BuildResult) and built.output is not None  # noqa: PT018
    workers.submit_run(RunRequest(1, built.output.artefact))
    (run,) = workers.poll(10.0)
    assert isinstance(run, RunResult)
    assert (run.status, run.message, run.samples_s) == (Status.RUN_ERROR, "crash", ())


def test_busy_is_the_share_at_work_between_first_and_last_beginning() -> None:
    workers = SimulatedWorkers(fate, builders=1, runners=2)
    build(workers, 1.0)
    (built,) = workers.poll(10.0)
    assert isinstance(built, BuildResult) and built.output is not None  # noqa: PT018
    request = RunRequest(1, built.output.artefact)
    assert workers.busy() == 0.0
    for _ in range(3):
        workers.submit_run(request)
    # Two runs from 1.0 to 1.5, and the third begins at 1.5.
    assert len(finish(workers)) == 3
    assert workers.busy() == 1.0
    workers.submit_run(request)
    # It begins at 2.0: of 2 runners from 1.0 to 2.0, three of four halves were work.
    assert workers.busy() == 0.75


def test_a_load_clock_counts_the_caller_and_skips_waiting() -> None:
    clock = LoadClock()
    before = clock.now()
    clock.advance_to(1000.0)
    assert before < 1000.0 <= clock.now() < 1100.0
    clock.advance_to(10.0)
    assert clock.now() >= 1000.0


def test_closed_and_impossible_workers_are_refused() -> None:
    workers = SimulatedWorkers(fate)
    workers.close()
    workers.close()
    with pytest.raises(MeasureError, match="are closed; make new ones"):
        build(workers, 1.0)
    with pytest.raises(UsageError, match="builders is 0 and runners 1, expected at least 1"):
        SimulatedWorkers(fate, builders=0)
    with pytest.raises(UsageError, match="status ok with 0 samples, expected samples exactly"):
        Fate("p")
    with pytest.raises(UsageError, match="build_s is -1"):
        Fate("p", (1.0,), build_s=-1.0)
