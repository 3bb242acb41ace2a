from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from metasched.measure.process import WorkerProcess, WorkerSpec


@pytest.fixture
def process(tmp_path: Path) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(WorkerSpec("tests.core.measure.pool_tasks:make_handler", str(tmp_path)))
    assert worker.connection.recv_bytes()
    yield worker
    worker.kill()


def wait_for_growth(path: Path, size: int, limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while not path.exists() or path.stat().st_size <= size:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_pause_reaches_children_in_other_groups(process: WorkerProcess, tmp_path: Path) -> None:
    ticks = tmp_path / "ticks"
    process.send(("tick", str(ticks)))
    wait_for_growth(ticks, 0)
    process.pause()
    time.sleep(0.05)
    size = ticks.stat().st_size
    time.sleep(0.2)
    assert ticks.stat().st_size == size
    process.resume()
    wait_for_growth(ticks, size)


def test_a_paused_worker_can_be_killed(process: WorkerProcess, tmp_path: Path) -> None:
    ticks = tmp_path / "ticks"
    process.send(("tick", str(ticks)))
    wait_for_growth(ticks, 0)
    process.pause()
    process.kill()
    assert not Path(f"/proc/{process.pid}").exists()
    size = ticks.stat().st_size
    time.sleep(0.1)
    assert ticks.stat().st_size == size


def test_a_worker_leads_its_own_session(process: WorkerProcess) -> None:
    assert os.getsid(process.pid) == process.pid != os.getsid(0)
