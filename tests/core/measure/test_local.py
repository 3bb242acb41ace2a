from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metasched.errors import MeasureError, UsageError
from metasched.measure.local import LocalWorkers
from metasched.measure.records import (
    AnyResult,
    Artefact,
    BuildRequest,
    BuildResult,
    CompareRequest,
    CompareResult,
    MeasureConfig,
    RunRequest,
    RunResult,
    Status,
)
from tests.core.measure import kernels

pytestmark = pytest.mark.cc

QUICK = MeasureConfig(sample_s=5e-4, max_samples=5, build_timeout_s=20.0, run_timeout_s=20.0)


@pytest.fixture(scope="module")
def workers() -> Iterator[LocalWorkers]:
    with LocalWorkers(builders=1, config=QUICK) as opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(scope="module")
def reference(folder: Path) -> Artefact:
    return kernels.compile_kernel(folder, kernels.DOUBLE)


def wait_for(workers: LocalWorkers, count: int = 1, limit_s: float = 60.0) -> list[AnyResult]:
    results: list[AnyResult] = []
    deadline = time.monotonic() + limit_s
    while len(results) < count:
        assert time.monotonic() < deadline, f"only {results}"
        results.extend(workers.poll(1.0))
    return results


def build(workers: LocalWorkers, task: str, payload: Any = "") -> BuildResult:
    workers.submit_build(BuildRequest(7, f"tests.core.measure.kernels:{task}", payload))
    (result,) = wait_for(workers)
    assert isinstance(result, BuildResult)
    assert result.candidate_id == 7
    return result


def run(workers: LocalWorkers, artefact: Artefact, **options: Any) -> RunResult:
    workers.submit_run(RunRequest(3, artefact, **{"config": QUICK, **options}))
    (result,) = wait_for(workers)
    assert isinstance(result, RunResult)
    assert result.candidate_id == 3
    return result


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def wait_until_gone(pids: list[int], limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline, f"still alive: {[p for p in pids if is_alive(p)]}"
        time.sleep(0.02)


def test_a_kernel_is_built_checked_and_timed(workers: LocalWorkers, reference: Artefact) -> None:
    built = build(workers, "build", kernels.PARALLEL)
    assert built.status == Status.OK, built.message
    assert built.output is not None
    assert built.build_s > 0
    result = run(workers, built.output.artefact, reference=reference)
    assert result.status == Status.OK, result.message
    assert 2 <= len(result.samples_s) <= 2 * QUICK.max_samples
    assert all(0 < sample < 0.1 for sample in result.samples_s)
    assert result.max_error is not None
    assert result.tolerance is not None
    assert result.max_error <= result.tolerance
    assert not result.dropped
    assert result.noise_floor is not None
    assert result.noise_floor >= 0


@pytest.mark.parametrize(
    ("task", "payload", "status", "message"),
    [
        ("build", "syntax error here", Status.BUILD_ERROR, "refused the source: .*error"),
        ("reject", "too large", Status.REJECTED, "^too large$"),
        ("refuse", "cannot print", Status.BUILD_ERROR, "^cannot print$"),
        ("blunder", "oops", Status.BUILD_ERROR, r"ZeroDivisionError: oops at kernels.py:\d+"),
        ("answer_nonsense", "", Status.BUILD_ERROR, "returned function, expected BuildOutput"),
        ("no_such_task", "", Status.BUILD_ERROR, "AttributeError.*no_such_task"),
        ("die", "", Status.LOST, "killed by SIGABRT; it printed: last words"),
    ],
)
def test_what_goes_wrong_in_a_build_is_a_status(
    workers: LocalWorkers, task: str, payload: str, status: Status, message: str
) -> None:
    result = build(workers, task, payload)
    assert result.status == status
    assert result.output is None
    with pytest.raises(ValueError, match=message):
        raise ValueError(result.message)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (kernels.WRONG, Status.WRONG_RESULT, r"'b'\[\d+\] is .*, expected .* relative 0.0001"),
        (kernels.NOTHING, Status.WRONG_RESULT, r"'b'\[0\] is nan, expected"),
        (kernels.PARTIAL, Status.WRONG_RESULT, r"'b'\[999\] is nan, expected"),
        (kernels.ACCUMULATE, Status.WRONG_RESULT, r"is nan, expected"),
        (kernels.STRAY, Status.WRONG_RESULT, "wrote outside of 'b' float32"),
        (kernels.INPUT, Status.WRONG_RESULT, "wrote to its input 'a'"),
        (kernels.SEGFAULT, Status.RUN_ERROR, "killed by SIGSEGV; it printed: about to crash"),
    ],
)
def test_a_bad_kernel_gets_no_time(
    workers: LocalWorkers,
    folder: Path,
    reference: Artefact,
    body: str,
    status: Status,
    message: str,
) -> None:
    result = run(workers, kernels.compile_kernel(folder, body), reference=reference)
    assert result.status == status
    assert result.samples_s == ()
    with pytest.raises(ValueError, match=message):
        raise ValueError(result.message)


def test_a_workspace_is_not_zero_at_first(
    workers: LocalWorkers, folder: Path, reference: Artefact
) -> None:
    artefact = kernels.compile_kernel(folder, kernels.SCRATCH, workspace_bytes=4 * kernels.N)
    result = run(workers, artefact, reference=reference)
    assert result.status == Status.WRONG_RESULT


def test_a_destroyed_input_is_made_again(
    workers: LocalWorkers, folder: Path, reference: Artefact
) -> None:
    bad = kernels.compile_kernel(folder, kernels.INPUT)
    assert run(workers, bad, reference=reference).status == Status.WRONG_RESULT
    assert run(workers, reference, reference=reference).status == Status.OK


def test_a_hanging_kernel_ends_at_its_deadline(
    workers: LocalWorkers, folder: Path, reference: Artefact
) -> None:
    config = MeasureConfig(run_timeout_s=0.3)
    result = run(workers, kernels.compile_kernel(folder, kernels.HANG), config=config)
    assert result.status == Status.RUN_TIMEOUT
    assert result.message == "no answer in 0.3 s"
    assert run(workers, reference, reference=reference).status == Status.OK


def test_a_hopeless_kernel_is_dropped_after_one_sample(
    workers: LocalWorkers, folder: Path, reference: Artefact
) -> None:
    slow = kernels.compile_kernel(folder, kernels.SLOW)
    result = run(workers, slow, reference=reference, incumbent_s=1e-9)
    assert result.status == Status.OK
    assert result.dropped
    assert len(result.samples_s) <= 2


def test_an_artefact_that_is_gone_is_a_run_error(
    workers: LocalWorkers, reference: Artefact
) -> None:
    gone = Artefact("/nowhere.so", "kernel", "x", reference.args, 0, 0.0)
    result = run(workers, gone)
    assert result.status == Status.RUN_ERROR
    assert "cannot load '/nowhere.so'" in result.message


def test_a_reference_with_other_parameters_is_refused(
    workers: LocalWorkers, folder: Path, reference: Artefact
) -> None:
    args = (kernels.ARGS[0],)
    other = Artefact(reference.path, "kernel", "y", args, 0, 0.0)
    result = run(workers, reference, reference=other)
    assert result.status == Status.RUN_ERROR
    assert "the reference has parameters" in result.message


def test_a_reference_that_crashes_is_told_for_every_candidate(
    workers: LocalWorkers, folder: Path, reference: Artefact
) -> None:
    crash = kernels.compile_kernel(folder, kernels.SEGFAULT)
    messages = [run(workers, reference, reference=crash, seed=1).message for _ in range(2)]
    assert "killed by SIGSEGV" in messages[0]
    assert "the reference, the unscheduled program, crashed" in messages[1]


def test_finalists_are_timed_in_turn(
    workers: LocalWorkers, folder: Path, reference: Artefact
) -> None:
    slow = kernels.compile_kernel(folder, kernels.SLOW)
    workers.submit_run(CompareRequest(5, (slow, reference), rounds=4, config=QUICK))
    (result,) = wait_for(workers)
    assert isinstance(result, CompareResult)
    assert result.status == Status.OK, result.message
    assert [len(samples) for samples in result.samples_s] == [4, 4]
    assert min(result.samples_s[0]) > max(result.samples_s[1])


def test_builders_import_little_and_are_polite(workers: LocalWorkers) -> None:
    words = build(workers, "read_environment", "PYTHONPATH").message
    _, _, nice, modules = words.split(" ", 3)
    assert int(nice) == min(19, os.nice(0) + 5)
    assert "xgboost" not in modules
    assert "sqlalchemy" not in modules


def test_a_build_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    config = MeasureConfig(build_timeout_s=1.0)
    with LocalWorkers(builders=1, config=config) as workers:
        result = build(workers, "hang_with_children", str(note))
        assert result.status == Status.BUILD_TIMEOUT
        assert result.message.startswith("no answer in 1 s")
        wait_until_gone([int(pid) for pid in note.read_text().split()])


def test_a_paused_build_loses_no_time_and_keeps_its_deadline(folder: Path) -> None:
    config = MeasureConfig(build_timeout_s=1.6, run_timeout_s=2.0)
    hang = kernels.compile_kernel(folder, kernels.HANG)
    with LocalWorkers(builders=1, config=config) as workers:
        build(workers, "reject")
        workers.submit_build(BuildRequest(1, "tests.core.measure.kernels:nap", 30))
        workers.submit_run(RunRequest(2, hang, config=config))
        run_result, build_result = wait_for(workers, 2)
    assert isinstance(run_result, RunResult)
    assert run_result.status == Status.RUN_TIMEOUT
    assert isinstance(build_result, BuildResult)
    assert build_result.status == Status.REJECTED, build_result.message
    assert 0.29 < build_result.build_s < 1.6


def test_closing_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    workers = LocalWorkers(builders=1)
    workers.submit_build(
        BuildRequest(1, "tests.core.measure.kernels:hang_with_children", str(note))
    )
    pids = wait_for_pids(note)
    workers.close()
    workers.close()
    wait_until_gone(pids)
    assert not Path(workers.scratch).exists()
    with pytest.raises(MeasureError, match="the workers are closed"):
        workers.submit_build(BuildRequest(1, "x:y", ""))


def wait_for_pids(note: Path, limit_s: float = 20.0) -> list[int]:
    deadline = time.monotonic() + limit_s
    while not note.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return [int(pid) for pid in note.read_text().split()]


_PARENT = """
import sys
from metasched.measure.local import LocalWorkers
from metasched.measure.records import BuildRequest
workers = LocalWorkers(builders=1)
workers.submit_build(BuildRequest(1, "tests.core.measure.kernels:hang_with_children", sys.argv[1]))
print(workers.scratch, flush=True)
workers.poll(600)
"""


def start_parent(note: Path) -> tuple[subprocess.Popen[str], str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(note)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    assert parent.stdout is not None
    return parent, parent.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_workers_do_not_outlive_their_parent(tmp_path: Path, number: signal.Signals) -> None:
    parent, scratch = start_parent(tmp_path / "pids")
    with parent:
        pids = wait_for_pids(tmp_path / "pids")
        parent.send_signal(number)
        parent.wait(20)
    wait_until_gone(pids)
    assert not Path(scratch).exists()


def test_capacity_and_bad_sizes() -> None:
    with pytest.raises(UsageError, match="builders is 0, expected at least 1"):
        LocalWorkers(builders=0, runners=0)
    with pytest.raises(UsageError, match="runners is 2, expected 0 or 1"):
        LocalWorkers(runners=2)
    with LocalWorkers(builders=2) as workers:
        assert (workers.capacity.builders, workers.capacity.runners) == (2, 1)
        assert workers.poll(60.0) == []
