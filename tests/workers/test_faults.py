"""Faults on Ray itself: whatever breaks, the job ends with each reported result once on record.

Several nodes run on this machine, on loopback. `pytest -m slow tests/workers/test_faults.py` runs
each fault twice with random timing, `--faults 20` so many times.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from metasched_workers import fleet_state, fleet_targets
from metasched_workers.fleet import JoinedFleet
from metasched_workers.lanes import DispatchConfig
from metasched_workers.ray_workers import JobOptions, RayWorkers

import metasched as ms
from metasched.database import AbstractDatabase
from metasched.measure.process import kill_tree
from metasched.measure.records import (
    Artefact,
    BuildRequest,
    BuildResult,
    MeasureConfig,
    RunRequest,
    Status,
)
from metasched.task import Progress
from tests.core.measure import kernels
from tests.workers.processes import descendants, shared_memory, table, workers_below

pytestmark = [pytest.mark.slow, pytest.mark.cc]

if find_spec("ray") is None:
    pytest.skip("Ray is not installed", allow_module_level=True)

TARGET = ms.Target("cpu")
PROGRAM = ms.ops.matmul(m=64, n=64, k=64)
QUICK = JobOptions(dispatch=DispatchConfig(poll_s=0.5, lease_s=5.0, patience_s=90.0))


@dataclass
class Reported:
    """What the driver was told of a job: its trials as they were counted.

    It also lets a node join in the place of one that was killed, which Ray's test cluster does in
    the main thread only.
    """

    cluster: Any
    trials: int = 0
    went_back: bool = False
    started: threading.Event = field(default_factory=threading.Event)

    def __call__(self, snapshot: Progress) -> None:
        self.went_back = self.went_back or snapshot.trials < self.trials
        self.trials = snapshot.trials
        if len(self.cluster.worker_nodes) < 2:
            add_node(self.cluster)
        if snapshot.trials >= 2:
            self.started.set()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of a head without cores and of two nodes that build and measure."""
    quiet = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "f" * 64,
    }
    os.environ.update({name: value for name, value in quiet.items() if name not in os.environ})
    os.environ.setdefault("METASCHED_FAULT_TEST", f"faults-{os.getpid()}")
    before = shared_memory()
    os.environ["PYTHONPATH"] = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": 100 << 20}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **memory})
    for _ in range(2):
        add_node(made)
    yield made
    made.shutdown()
    wait_for_no_orphans()
    assert shared_memory() <= before


def add_node(cluster: Any) -> Any:
    return cluster.add_node(
        num_cpus=1,
        resources={"metasched:cpu": 1},
        object_store_memory=100 << 20,
        memory=2 << 30,
    )


def hosts(cluster: Any) -> list[int]:
    """Process ids of the hosts."""
    return named(cluster, "ray::HostActor")


def named(cluster: Any, name: str) -> list[int]:
    below = descendants(os.getpid())
    return [pid for pid, text in below.items() if text.startswith(name)]


def is_runner(pid: int) -> bool:
    """Whether a worker process is a runner: they have settings of OpenMP."""
    with contextlib.suppress(OSError):
        return b"OMP_PROC_BIND=true" in Path(f"/proc/{pid}/environ").read_bytes()
    return False


def cpu_ticks(pid: int) -> int:
    with contextlib.suppress(OSError):
        return sum(
            map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])
        )
    return 0


def kill(pids: list[int], rng: random.Random) -> None:
    if pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(pids), signal.SIGKILL)


def kill_builder(cluster: Any, rng: random.Random) -> None:
    kill([p for h in hosts(cluster) for p in workers_below(h) if not is_runner(p)], rng)


def kill_busy_runner(cluster: Any, rng: random.Random) -> None:
    """Kill a runner that is at work on a candidate."""
    runners = [p for h in hosts(cluster) for p in workers_below(h) if is_runner(p)]
    before = {pid: cpu_ticks(pid) for pid in runners}
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        time.sleep(0.01)
        busy = [pid for pid in runners if cpu_ticks(pid) > before[pid]]
        if busy:
            kill(busy, rng)
            return


def kill_host(cluster: Any, rng: random.Random) -> None:
    kill(hosts(cluster), rng)


def kill_broker(cluster: Any, rng: random.Random) -> None:
    kill(named(cluster, "ray::BrokerActor"), rng)


def kill_node(cluster: Any, rng: random.Random) -> None:
    """Kill a node with everything below it; another one joins."""
    node = rng.choice([n for n in cluster.list_all_nodes() if n is not cluster.head_node])
    raylet = node.all_processes["raylet"][0].process.pid
    kill_tree(raylet)
    with contextlib.suppress(ProcessLookupError):
        cluster.remove_node(node, allow_graceful=False)
    cluster.worker_nodes.discard(node)


def freeze_host(cluster: Any, rng: random.Random) -> None:
    """Stop a host for longer than its lease; it goes on with what it had."""
    pid = rng.choice(hosts(cluster))
    os.kill(pid, signal.SIGSTOP)
    time.sleep(8)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


FAULTS: list[Callable[[Any, random.Random], None]] = [
    kill_builder,
    kill_busy_runner,
    kill_host,
    kill_broker,
    kill_node,
    freeze_host,
]
ROUNDS = range(int(os.environ.get("METASCHED_FAULTS", "2")))


def join(cluster: Any) -> RayWorkers:
    return RayWorkers(lambda: JoinedFleet(cluster.address), [TARGET], options=QUICK)


def check_database(database: AbstractDatabase, result: ms.TuneResult, reported: Reported) -> None:
    """What was reported is on record, once each."""
    counted = [r for r in database.records() if r.status not in (Status.REJECTED, Status.LOST)]
    assert len({r.program_hash for r in counted}) == len(counted)
    assert len(counted) == result.trials - result.failures.get("lost", 0)
    assert reported.trials == result.trials
    assert not reported.went_back
    assert result.best is not None


def orphans() -> list[str]:
    """Worker processes of this test whose host has gone."""
    mark = f"METASCHED_FAULT_TEST={os.environ['METASCHED_FAULT_TEST']}".encode()
    alive = table()
    found: list[str] = []
    for pid, (parent, text) in alive.items():
        with contextlib.suppress(OSError):
            is_ours = mark in Path(f"/proc/{pid}/environ").read_bytes()
            has_host = alive.get(parent, (0, ""))[1].startswith("ray::HostActor")
            if is_ours and "metasched.measure.worker" in text and not has_host:
                found.append(f"{pid} {text}")
    return found


def wait_for_no_orphans(limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while found := orphans():
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


@pytest.mark.parametrize("number", ROUNDS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_job_survives(
    cluster: Any, fault: Callable[[Any, random.Random], None], number: int, tmp_path: Path
) -> None:
    rng = random.Random(f"{fault.__name__} {number}")
    reported, errors = Reported(cluster), list[BaseException]()

    def strike() -> None:
        try:
            assert reported.started.wait(60)
            time.sleep(rng.uniform(0, 1.5))
            fault(cluster, rng)
        except BaseException as error:
            errors.append(error)

    striker = threading.Thread(target=strike)
    striker.start()
    with ms.Database(f"sqlite:///{tmp_path}/faults.db") as database, join(cluster) as workers:
        result = ms.tune(
            PROGRAM, target=TARGET, workers=workers, trials=40, seed=number, database=database,
            progress=reported, model="analytic",
        )  # fmt: skip
        striker.join()
        assert not errors
        assert isinstance(result, ms.TuneResult)
        check_database(database, result, reported)
        assert result.trials >= 40
    wait_for_no_orphans()


def test_a_fleet_tells_what_it_measures_for_and_how_it_is(cluster: Any) -> None:
    address = f"ray:{cluster.address}"
    assert [target.key() for target in fleet_targets(address)] == [TARGET.key()]
    with join(cluster) as workers:
        workers.submit_build(BuildRequest(1, "tests.core.measure.kernels:build", kernels.DOUBLE))
        while not workers.poll(0.5):
            pass
        state = fleet_state(address)
        assert workers.job_id in state["jobs"]
        assert len(state["hosts"]) == 2
        logs = Path(cluster.head_node.get_logs_dir_path())
        assert list(logs.glob("metasched-*.jsonl")) or not state["refused"]


BODIES: dict[str, tuple[str, Status]] = {
    "good": (kernels.DOUBLE, Status.OK),
    "segfault": (kernels.SEGFAULT, Status.RUN_ERROR),
    "spin": (kernels.HANG, Status.RUN_TIMEOUT),
    "allocate": (
        "for (;;) { char *p = malloc(1 << 24); if (p) for (int i = 0; i < 1 << 24; i += 512)"
        " ((volatile char *)p)[i] = 1; }",
        Status.RUN_ERROR,
    ),
    "fork": (
        "extern int fork(void); extern unsigned sleep(unsigned);"
        " for (;;) if (!fork()) for (;;) sleep(1);",
        Status.RUN_ERROR,
    ),
    "stray": (kernels.STRAY, Status.WRONG_RESULT),
}


@pytest.mark.parametrize("number", ROUNDS)
def test_a_bad_candidate_costs_its_own_trial_only(cluster: Any, number: int) -> None:
    rng = random.Random(number)
    names = [*BODIES, *(["good"] * 6)]
    rng.shuffle(names)
    config = MeasureConfig(run_timeout_s=5.0, max_total_s=0.05)
    with join(cluster) as workers:
        for index, name in enumerate(names):
            task = "tests.core.measure.kernels:build"
            workers.submit_build(BuildRequest(index, task, BODIES[name][0]))
        ended: dict[int, Status] = {}
        reference = None
        waiting: list[tuple[int, Artefact]] = []
        deadline = time.monotonic() + 120
        while len(ended) < len(names):
            assert time.monotonic() < deadline, ended
            for result in workers.poll(0.5):
                if isinstance(result, BuildResult):
                    assert result.output is not None, result.message
                    artefact = result.output.artefact
                    if names[result.candidate_id] == "good":
                        reference = reference or artefact
                    waiting.append((result.candidate_id, artefact))
                else:
                    ended[result.candidate_id - 1000] = result.status
            while reference is not None and waiting:
                index, artefact = waiting.pop()
                workers.submit_run(RunRequest(1000 + index, artefact, reference, config=config))
    assert ended == {index: BODIES[name][1] for index, name in enumerate(names)}
    wait_for_no_orphans()


DRIVER = """
import sys
import metasched as ms
told = open(sys.argv[3], "a", buffering=1)
ms.tune(
    ms.ops.matmul(m=64, n=64, k=64), workers=sys.argv[1], database=sys.argv[2], trials=40,
    model="analytic", seed=int(sys.argv[4]), progress=lambda s: print(s.trials, file=told),
)
"""


def start_driver(cluster: Any, database: str, told: Path, number: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", ENTRY_POINT + DRIVER, f"ray:{cluster.address}", database]
    return subprocess.Popen([*command, str(told), str(number)], stderr=subprocess.PIPE)


ENTRY_POINT = """
from importlib.metadata import EntryPoint, EntryPoints
from metasched.measure import open as opening
point = EntryPoint("ray", "metasched_workers:open_workers", opening.ENTRY_POINTS)
opening.entry_points = lambda group: EntryPoints([point])
"""
"""The entry point of pyproject.toml, also where the installed metadata is older."""


def records_of(url: str) -> dict[str, tuple[float, ...]]:
    """Samples by program of what was measured or failed."""
    with ms.Database(url) as database:
        return {
            r.program_hash: r.samples_s
            for r in database.records()
            if r.status not in (Status.REJECTED, Status.LOST)
        }


def last_told(told: Path) -> int:
    lines = told.read_text().split() if told.exists() else []
    return int(lines[-1]) if lines else 0


def wait_for_trials(told: Path, count: int, limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while last_told(told) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", ROUNDS)
def test_a_killed_driver_resumes(cluster: Any, number: int, tmp_path: Path) -> None:
    rng = random.Random(number)
    url, told = f"sqlite:///{tmp_path}/driver.db", tmp_path / "told"
    driver = start_driver(cluster, url, told, number)
    with driver:
        wait_for_trials(told, 1)
        time.sleep(rng.uniform(0, 2))
        driver.kill()
    kept, reported = records_of(url), last_told(told)
    assert len(kept) >= reported >= 1
    with start_driver(cluster, url, told, number) as again:
        assert again.wait(120) == 0, again.stderr
    resumed = records_of(url)
    assert len(resumed) >= 40
    # Finalists may gain samples; nothing else that was on record was measured again.
    changed = [name for name in kept if resumed[name] != kept[name]]
    assert len(changed) <= 4
    wait_for_no_orphans()


@pytest.mark.parametrize("number", ROUNDS)
def test_a_database_that_is_away_for_a_while(cluster: Any, number: int, tmp_path: Path) -> None:
    rng = random.Random(number)
    path = tmp_path / "away.db"
    reported = Reported(cluster)

    def lock() -> None:
        reported.started.wait(60)
        time.sleep(rng.uniform(0, 1))
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA busy_timeout=20000")
            other.execute("BEGIN EXCLUSIVE")
            time.sleep(20)
            other.execute("ROLLBACK")

    away = threading.Thread(target=lock)
    away.start()
    with ms.Database(f"sqlite:///{path}") as database, join(cluster) as workers:
        result = ms.tune(
            PROGRAM, target=TARGET, workers=workers, trials=40, seed=number, database=database,
            progress=reported, model="analytic",
        )  # fmt: skip
        away.join()
        assert isinstance(result, ms.TuneResult)
        check_database(database, result, reported)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("number", ROUNDS)
def test_a_full_disk_ends_the_job_with_what_was_reported_on_record(
    cluster: Any, number: int, tmp_path: Path, small_disk: Path
) -> None:
    rng = random.Random(number)
    url, told = f"sqlite:///{small_disk}/full.db", tmp_path / "told"
    with start_driver(cluster, url, told, number) as driver:
        wait_for_trials(told, 1 + rng.randrange(4))
        fill(small_disk / "filler")
        assert driver.wait(120) != 0
        assert driver.stderr is not None
        assert b"DatabaseError" in driver.stderr.read()
    (small_disk / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert len(records_of(url)) >= last_told(told) >= 1
    with start_driver(cluster, url, told, number) as again:
        assert again.wait(120) == 0
    assert len(records_of(url)) >= 40
    wait_for_no_orphans()


def fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))
