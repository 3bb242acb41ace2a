"""Jobs on a fleet of threads: what is submitted comes back once, whatever happens to hosts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from metasched_workers.lanes import DispatchConfig
from metasched_workers.protocol import Hello
from metasched_workers.ray_workers import JobOptions, RayWorkers

from metasched.errors import MeasureError
from metasched.measure.records import (
    AnyResult,
    Artefact,
    BuildResult,
    CompareRequest,
    CompareResult,
    RunRequest,
    RunResult,
    Status,
)
from tests.workers.threads import ThreadCluster, build_request

QUICK = DispatchConfig(poll_s=0.1, lease_s=0.3, patience_s=0.5)


def collect(workers: RayWorkers, count: int, limit_s: float = 20.0) -> list[AnyResult]:
    """So many results."""
    found: list[AnyResult] = []
    deadline = time.monotonic() + limit_s
    while len(found) < count and time.monotonic() < deadline:
        found += workers.poll(0.5)
    assert len(found) == count
    return found


def built(workers: RayWorkers, number: int, run_s: float = 0.01) -> Artefact:
    workers.submit_build(build_request(number, run_s=run_s))
    (result,) = collect(workers, 1)
    assert isinstance(result, BuildResult)
    assert result.output is not None
    return result.output.artefact


def wait_until(condition: Callable[[], Any], limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_builds_runs_and_finals_come_back_once(fleet: Any) -> None:
    _, _, join = fleet(nodes=2)
    workers = join()
    artefacts = [built(workers, i) for i in range(4)]
    assert all(Path(artefact.path).exists() for artefact in artefacts)
    for i, artefact in enumerate(artefacts):
        workers.submit_run(RunRequest(10 + i, artefact))
    workers.submit_run(CompareRequest(20, tuple(artefacts), rounds=3))
    results = collect(workers, 5)
    assert sorted(r.candidate_id for r in results) == [10, 11, 12, 13, 20]
    assert all(r.status is Status.OK for r in results)
    (final,) = (r for r in results if isinstance(r, CompareResult))
    assert [len(samples) for samples in final.samples_s] == [3] * 4
    assert workers.poll(5.0) == []


def test_capacity_is_that_of_all_hosts(fleet: Any) -> None:
    _, _, join = fleet(nodes=3, runners=2, builders=4)
    workers = join()
    wait_until(lambda: workers.capacity.builders == 12)
    assert workers.capacity.runners == 6


def test_the_fleet_is_described_in_a_line(fleet: Any) -> None:
    cluster, broker, join = fleet(nodes=2)
    workers = join()
    wait_until(lambda: workers.capacity.runners == 4)
    artefact = built(workers, 0, run_s=0.3)
    for number in range(1, 21):
        workers.submit_run(RunRequest(number, artefact))
    wait_until(lambda: "wait" in workers.describe())
    text = workers.describe()
    assert text.startswith("2 of 2 hosts, 4 builders")
    assert "runs/s" in text
    collect(workers, 20)
    hosts = broker.state()["hosts"].values()
    wait_until(lambda: sum(h.host.state()["results"].get("run:ok", 0) for h in cluster.handles))
    assert [host["slots"] for host in hosts] == [{"build": 2, "run": 2}] * 2


def test_jobs_of_a_fleet_share_it_by_priority(fleet: Any) -> None:
    _, _, join = fleet(nodes=1, runners=1, builders=1)
    low, high = join(JobOptions(priority=0)), join(JobOptions(priority=1))
    artefacts = [built(workers, 0, run_s=0.05) for workers in (low, high)]
    for workers, artefact in zip((low, high), artefacts, strict=True):
        for number in range(1, 13):
            workers.submit_run(RunRequest(number, artefact))
    collect(high, 12)
    # The other had what it began before, and what the driver of this one was slow to fill.
    before = low.poll()
    assert len(before) <= 6
    collect(low, 12 - len(before))


def test_the_files_of_a_job_go_with_it(fleet: Any) -> None:
    _, _, join = fleet()
    workers = join()
    path = Path(built(workers, 1).path)
    workers.close()
    assert not path.parent.exists()
    with pytest.raises(MeasureError, match="the workers are closed"):
        workers.poll()


def test_the_work_of_a_killed_host_is_done_elsewhere(fleet: Any) -> None:
    cluster, _, join = fleet(nodes=2)
    workers = join()
    artefact = built(workers, 0, run_s=0.2)
    for number in range(1, 9):
        workers.submit_run(RunRequest(number, artefact))
    wait_until(lambda: all("submit" in handle.calls for handle in cluster.handles))
    cluster.kill(cluster.handles[0])
    results = collect(workers, 8)
    assert {r.candidate_id for r in results} == set(range(1, 9))
    assert all(r.status is Status.OK for r in results)


def test_work_that_ends_every_host_is_lost_in_the_end(fleet: Any) -> None:
    cluster, _, join = fleet(nodes=3, runners=1)
    workers = join(JobOptions(dispatch=replace(QUICK, attempts=3, patience_s=60.0)))
    wait_until(lambda: workers.capacity.runners == 3)
    artefact = built(workers, 0, run_s=60.0)
    workers.submit_run(RunRequest(1, artefact))
    for _ in range(3):
        wait_until(lambda: busy(cluster))
        cluster.kill(busy(cluster)[0])
    (result,) = collect(workers, 1)
    assert result.status is Status.LOST
    assert "begun 3 times and lost each time, the last time so: " in result.message


def busy(cluster: ThreadCluster) -> list[Any]:
    return [h for h in cluster.handles if not h.is_dead and h.host.state()["busy"]["run"]]


def test_a_late_result_of_a_silent_host_is_kept_but_not_counted(fleet: Any) -> None:
    cluster, _, join = fleet(nodes=2, runners=1)
    workers = join(JobOptions(dispatch=replace(QUICK, patience_s=60.0)))
    wait_until(lambda: workers.capacity.runners == 2)
    artefact = built(workers, 0, run_s=0.3)
    workers.submit_run(RunRequest(1, artefact))
    wait_until(lambda: busy(cluster))
    silent = busy(cluster)[0]
    cluster.freeze(silent)
    (counted,) = collect(workers, 1)
    assert isinstance(counted, RunResult)
    assert not counted.is_late
    cluster.thaw(silent)
    workers.submit_run(RunRequest(2, artefact))
    late, other = sorted(collect(workers, 2), key=lambda r: r.candidate_id)
    assert isinstance(late, RunResult)
    assert (late.candidate_id, late.is_late, late.status) == (1, True, Status.OK)
    assert other.candidate_id == 2
    # The silent host works again.
    assert workers.capacity.runners == 2


def test_a_host_that_joins_gets_work(fleet: Any) -> None:
    cluster, _, join = fleet(nodes=1, runners=1)
    workers = join()
    artefact = built(workers, 0, run_s=0.2)
    for number in range(1, 13):
        workers.submit_run(RunRequest(number, artefact))
    cluster.alive["late"] = {"CPU": 2}
    collect(workers, 12)
    assert len(cluster.handles) == 2
    assert "submit" in cluster.handles[1].calls


def test_a_job_that_nobody_can_do_ends_with_the_reason(fleet: Any) -> None:
    _, broker, join = fleet(nodes=0)
    workers = join(JobOptions(dispatch=QUICK))
    workers.submit_build(build_request(1))
    with pytest.raises(MeasureError, match=r"no builder .* the fleet measures on: nothing"):
        collect(workers, 1)
    assert len(broker.state()["jobs"]) == 1


def test_a_host_of_another_protocol_is_refused(fleet: Any) -> None:
    cluster, _, join = fleet()

    def newer(hello: Hello) -> Hello:
        return replace(hello, protocol=(7, 9))

    cluster.change_hello = newer
    workers = join(JobOptions(dispatch=QUICK))
    workers.submit_build(build_request(1))
    expected = "speaks protocol 7 to 9, this release 1; install the same metasched on both"
    with pytest.raises(MeasureError, match=expected):
        collect(workers, 1)


def test_a_failure_to_start_is_raised_by_poll() -> None:
    def refuse() -> Any:
        raise MeasureError("Ray does not start")

    from metasched.target import Target

    workers = RayWorkers(refuse, [Target("cpu")])
    workers.submit_build(build_request(1))
    with pytest.raises(MeasureError, match="Ray does not start"):
        collect(workers, 1)
    workers.close()
