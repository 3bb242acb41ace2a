from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import pytest

from metasched.errors import MeasureError
from metasched.measure.pool import Ending, Outcome, Pool, PoolConfig
from metasched.measure.process import WorkerSpec
from metasched.measure.weight import weigh

MakePool = Callable[..., Pool]


@pytest.fixture
def make_pool(tmp_path: Path) -> Iterator[MakePool]:
    pools: list[Pool] = []

    def make(size: int = 1, factory: str = "make_handler", **options: Any) -> Pool:
        spec = WorkerSpec(f"tests.core.measure.pool_tasks:{factory}", str(tmp_path))
        pools.append(Pool(PoolConfig(spec, size, **options)))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def serve(pool: Pool, count: int = 1, limit_s: float = 30.0) -> list[Outcome]:
    outcomes: list[Outcome] = []
    deadline = time.monotonic() + limit_s
    while len(outcomes) < count:
        assert time.monotonic() < deadline, outcomes
        pool.start()
        wait(pool.connections, max(0.0, min(1.0, pool.next_deadline() - time.monotonic())))
        outcomes.extend(pool.step())
    return outcomes


def ask(pool: Pool, name: str, value: Any = None, timeout_s: float = 20.0) -> Outcome:
    pool.submit((name, value), timeout_s)
    return serve(pool)[0]


def test_requests_are_served_by_processes_that_live_on(make_pool: MakePool) -> None:
    pool = make_pool()
    first, second = ask(pool, "echo", 1), ask(pool, "echo", 2)
    assert (first.ending, first.value[0]) == (Ending.ANSWERED, 1)
    assert second.value == (2, first.value[1])
    assert first.busy_s < 5
    assert first.queue_s > 0


def test_workers_serve_side_by_side(make_pool: MakePool) -> None:
    pool = make_pool(size=2)
    for _ in range(2):
        pool.submit(("sleep", 0.3), 20.0)
    outcomes = serve(pool, 2)
    assert len({outcome.value[1] for outcome in outcomes}) == 2


def test_a_worker_that_dies_is_replaced_and_only_its_request_is_hit(make_pool: MakePool) -> None:
    pool = make_pool()
    pid = ask(pool, "echo").value[1]
    dead = ask(pool, "exit", 3)
    assert (dead.ending, dead.value) == (Ending.DIED, None)
    assert dead.message == "exited with 3; it printed: bye"
    assert ask(pool, "echo").value[1] != pid


def test_a_request_past_its_deadline_ends_with_its_worker(make_pool: MakePool) -> None:
    pool = make_pool()
    late = ask(pool, "sleep", 600, timeout_s=0.2)
    assert late.ending == Ending.TIMED_OUT
    assert late.message == "no answer in 0.2 s"
    assert 0.2 <= late.busy_s < 5
    assert ask(pool, "echo", 5).value[0] == 5


@pytest.mark.parametrize(
    ("name", "message"),
    [("raise", r"ValueError: oops at pool_tasks\.py:\d+"), ("lambda", "pickle")],
)
def test_an_exception_is_an_outcome(make_pool: MakePool, name: str, message: str) -> None:
    outcome = ask(make_pool(), name, "oops")
    assert outcome.ending == Ending.RAISED
    with pytest.raises(ValueError, match=message):
        raise ValueError(outcome.message)


def test_a_worker_is_replaced_after_its_share_of_requests(make_pool: MakePool) -> None:
    pool = make_pool(requests=2)
    pids = [ask(pool, "echo").value[1] for _ in range(5)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]


def test_a_worker_that_grows_is_replaced(make_pool: MakePool) -> None:
    pool = make_pool(rss_bytes=70 << 20)
    small = ask(pool, "hoard", 1).value[1]
    assert ask(pool, "hoard", 64).value[1] == small
    assert ask(pool, "echo").value[1] != small


def test_a_pause_stops_the_clock_of_deadlines(make_pool: MakePool) -> None:
    pool = make_pool()
    ask(pool, "echo")
    pool.submit(("sleep", 0.2), 0.6)
    pool.start()
    pool.pause()
    time.sleep(0.8)
    assert pool.step() == []
    pool.resume()
    (outcome,) = serve(pool)
    assert outcome.ending == Ending.ANSWERED
    assert outcome.busy_s < 0.6


def test_workers_that_cannot_start_are_given_up(make_pool: MakePool) -> None:
    pool = make_pool(factory="fail_to_start")
    with pytest.raises(MeasureError, match=r"do not start: exited with 1; .*no device here"):
        ask(pool, "echo")


def test_a_request_that_takes_memory_without_end_is_ended(make_pool: MakePool) -> None:
    pool = make_pool(limit_bytes=256 << 20)
    outcome = ask(pool, "grow")
    assert outcome.ending == Ending.OVERGREW
    assert "of memory with all it started, 256 MiB are allowed" in outcome.message
    assert ask(pool, "echo").ending == Ending.ANSWERED


def test_a_request_that_starts_processes_without_end_is_ended_with_them(
    make_pool: MakePool,
) -> None:
    pool = make_pool()
    pid = ask(pool, "echo").value[1]
    outcome = ask(pool, "spawn")
    assert (outcome.ending, outcome.message) == (
        Ending.OVERGREW,
        "started more than 256 processes",
    )
    assert weigh(pid).processes == 0
    running = subprocess.run(["ps", "-eo", "ppid,args"], capture_output=True, text=True, check=True)
    assert not [line for line in running.stdout.splitlines() if line.split()[0] == str(pid)]


def test_an_end_from_outside_is_told_from_a_crash(make_pool: MakePool) -> None:
    pool = make_pool()
    pid = ask(pool, "echo").value[1]
    pool.submit(("sleep", 60.0), 20.0)
    pool.start()
    os.kill(pid, signal.SIGKILL)
    (outcome,) = serve(pool)
    assert outcome.ending == Ending.KILLED
