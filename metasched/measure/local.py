"""Builders and runners as processes of this machine.

`driver` keeps them busy, `pool` replaces the ones that die, `builder` and `runner` are what
they do.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import final

from metasched.errors import UsageError
from metasched.measure.driver import Driver
from metasched.measure.pool import Ending, Outcome, PoolConfig
from metasched.measure.process import WorkerSpec
from metasched.measure.records import (
    AnyResult,
    AnyRun,
    BuildRequest,
    BuildResult,
    CompareRequest,
    CompareResult,
    MeasureConfig,
    RunRequest,
    RunResult,
    Status,
)
from metasched.measure.reference import expected_path
from metasched.measure.workers import AbstractWorkers, Capacity
from metasched.registry import foreign_modules
from metasched.target import Target
from metasched.target.detect import usable_cores
from metasched.target.missing import check_device

_BUILDER_NICE = 5
_RUNNER_NICE = -10
"""Where it is permitted, so that the parent's search disturbs a measurement less."""

_BUILDS_PER_PROCESS = 1000
_RUNS_PER_PROCESS = 500

_BUILD_STATUS: Mapping[Ending, Status] = {
    Ending.RAISED: Status.BUILD_ERROR,
    Ending.TIMED_OUT: Status.BUILD_TIMEOUT,
    Ending.DIED: Status.LOST,
    Ending.KILLED: Status.LOST,
    Ending.OVERGREW: Status.BUILD_ERROR,
}
_RUN_STATUS: Mapping[Ending, Status] = {
    Ending.RAISED: Status.RUN_ERROR,
    Ending.TIMED_OUT: Status.RUN_TIMEOUT,
    Ending.DIED: Status.RUN_ERROR,
    Ending.KILLED: Status.LOST,
    Ending.OVERGREW: Status.RUN_ERROR,
}


def runner_environment(cores: int, *, bind: bool = True) -> dict[str, str]:
    """Return the OpenMP settings of a process that times kernels.

    Threads are bound: unbound ones that wake after a pause may share a core for milliseconds.
    They spin for about 8 ms, so that calls in a row pay no wake-up, and then sleep, so that
    an idle runner takes nothing from the builders.
    """
    return {
        "OMP_NUM_THREADS": str(cores),
        "OMP_PROC_BIND": "true" if bind else "false",
        "OMP_DYNAMIC": "false",
        "GOMP_SPINCOUNT": "300000",
        "KMP_BLOCKTIME": "8",
        "OPENBLAS_NUM_THREADS": "1",
    }


def runner_factory(target: Target) -> str:
    """Return what a process that times kernels for a target is made with, see `WorkerSpec`."""
    if target.gpu is None:
        return "metasched.measure.runner:Runner"
    return "metasched.measure.gpu.engine:gpu_runner"


@final
class LocalWorkers(AbstractWorkers):
    """Builds on all cores, and measures on all of them with the builders paused meanwhile.

    Kernels for a CUDA device run there, and building goes on beside them. OpenCL may run on the
    cores of this host, so builders pause for it.

    Args:
        target: What kernels run on; this host by default. The cores of a CPU target are used.
        builders: Number of builder processes; one for each core by default.
        runners: Number of runner processes: 1, or 0 where nothing is measured.
        config: Its `build_timeout_s` is the deadline of builds; by default that of a
            `MeasureConfig`, and twice as long for GPUs, whose compilers are slower.
        limit_bytes: Memory that a candidate may take with all it starts; half of that of this
            machine when 0.

    Raises:
        UsageError: no builder is allowed.
        DeviceError: the target's device, or a package that reaches it, is missing.
    """

    def __init__(
        self,
        target: Target | None = None,
        *,
        builders: int | None = None,
        runners: int = 1,
        config: MeasureConfig | None = None,
        limit_bytes: int = 0,
    ) -> None:
        goal = target or Target("cpu")
        check_device(goal)
        cores = goal.cores if goal.gpu is None else usable_cores()
        self._shares_cores = goal.kind != "cuda"
        self._capacity = Capacity(cores if builders is None else builders, runners)
        _check_numbers(self._capacity)
        patience = MeasureConfig() if goal.gpu is None else MeasureConfig(build_timeout_s=30.0)
        self._build_timeout_s = (config or patience).build_timeout_s
        self._limit_bytes = limit_bytes
        self._pending = 0
        self._scratch = tempfile.mkdtemp(prefix="metasched-")
        # What a GPU's runner computes on the host are references and comparisons, in threads of
        # its own, which would all be bound to the core that OpenMP binds this one to.
        environment = runner_environment(cores, bind=goal.gpu is None)
        pools = self._pools(runner_factory(goal), environment)
        self._driver = Driver(*pools, share_cores=self._shares_cores)
        # Also closes workers that were dropped without `close`, and those left at exit.
        arguments = (self._driver, self._scratch, os.getpid())
        self._finalizer = weakref.finalize(self, _close, *arguments)

    @property
    def capacity(self) -> Capacity:
        """One build for each builder, and one run."""
        return self._capacity

    @property
    def shares_cores(self) -> bool:
        """Whether kernels are timed on cores of this host."""
        return self._shares_cores

    @property
    def scratch(self) -> str:
        """The folder that holds what is built; it goes when the workers are closed."""
        return self._scratch

    def submit_build(self, request: BuildRequest) -> None:
        """Queue a build; see `AbstractWorkers.submit_build`."""
        self._driver.submit(request, self._build_timeout_s, is_run=False)
        self._pending += 1

    def submit_run(self, request: AnyRun) -> None:
        """Queue a run or a comparison; see `AbstractWorkers.submit_run`."""
        self._driver.submit(request, self._run_timeout_s(request), is_run=True)
        self._pending += 1

    def poll(self, timeout_s: float = 0.0) -> list[AnyResult]:
        """Return results; see `AbstractWorkers.poll`."""
        outcomes = self._driver.collect(timeout_s if self._pending else 0.0)
        self._pending -= len(outcomes)
        return [_result(outcome) for outcome in outcomes]

    def wake(self) -> None:
        """Make `poll`, now or the next time, return without waiting; from any thread."""
        self._driver.wake()

    def close(self) -> None:
        """Kill all workers with what they started and remove the scratch folder."""
        self._finalizer()

    def _pools(self, runner: str, environment: dict[str, str]) -> tuple[PoolConfig, PoolConfig]:
        build = WorkerSpec(
            "metasched.measure.builder:Builder",
            self._scratch,
            _BUILDER_NICE,
            modules=foreign_modules(),
        )
        run = WorkerSpec(runner, self._scratch, _RUNNER_NICE, environment)
        return (
            PoolConfig(
                build, self._capacity.builders, _BUILDS_PER_PROCESS, limit_bytes=self._limit_bytes
            ),
            PoolConfig(
                run, self._capacity.runners, _RUNS_PER_PROCESS, limit_bytes=self._limit_bytes
            ),
        )

    def _run_timeout_s(self, request: AnyRun) -> float:
        config = request.config
        if isinstance(request, CompareRequest):
            return config.run_timeout_s * len(request.artefacts)
        reference = request.reference
        if reference is None or expected_path(self._scratch, reference, request.seed).exists():
            return config.run_timeout_s
        return config.run_timeout_s + config.reference_timeout_s


def _check_numbers(capacity: Capacity) -> None:
    if capacity.runners not in (0, 1):
        given = f"runners is {capacity.runners}"
        raise UsageError(f"{given}, expected 0 or 1: measurements share the cores")
    if capacity.builders < 1 - capacity.runners:
        raise UsageError(f"builders is {capacity.builders}, expected at least 1")


def _close(driver: Driver, scratch: str, owner: int) -> None:
    # A fork of the owner has a copy of this, which must not touch the owner's files.
    if os.getpid() == owner:
        driver.close()
        shutil.rmtree(scratch, ignore_errors=True)


def _result(outcome: Outcome) -> AnyResult:
    """Return the record of what became of a request."""
    request, queue_s, busy_s = outcome.request, outcome.queue_s, outcome.busy_s
    if outcome.ending == Ending.ANSWERED:
        return _answered(outcome.value, queue_s, busy_s)
    if isinstance(request, BuildRequest):
        status = _BUILD_STATUS[outcome.ending]
        return BuildResult(
            request.candidate_id, status, outcome.message, queue_s=queue_s, build_s=busy_s
        )
    kind = RunResult if isinstance(request, RunRequest) else CompareResult
    status = _RUN_STATUS[outcome.ending]
    return kind(request.candidate_id, status, outcome.message, queue_s=queue_s, run_s=busy_s)


def _answered(value: AnyResult, queue_s: float, busy_s: float) -> AnyResult:
    if isinstance(value, BuildResult):
        return replace(value, queue_s=queue_s, build_s=busy_s)
    return replace(value, queue_s=queue_s)
