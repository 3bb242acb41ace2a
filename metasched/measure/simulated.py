"""Builders and runners that take no time: results are looked up, latency passes on a clock.

Any number of workers are simulated as queues and events, so that search settings are compared and
the coordinator of a job is loaded without hardware. Everything is a function of what is submitted
and when; on a `VirtualClock` the caller's own time does not count and runs repeat bit for bit.
"""

from __future__ import annotations

import heapq
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Generic, TypeAlias, TypeVar, final

from metasched.errors import MeasureError, UsageError
from metasched.measure.records import (
    AnyResult,
    AnyRun,
    Artefact,
    BuildOutput,
    BuildRequest,
    BuildResult,
    CompareRequest,
    CompareResult,
    RunResult,
    Status,
)
from metasched.measure.workers import AbstractWorkers, Capacity

_BUILD_STATUSES = (Status.REJECTED, Status.BUILD_ERROR, Status.BUILD_TIMEOUT)


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one candidate when it is built and run.

    Attributes:
        program_hash: of the program that it comes to; two candidates of one hash are duplicates.
        samples_s: measured seconds; empty exactly when the status is not ``OK``.
        status: how it ends; rejections and build statuses end in the builder.
        message: why it fails.
        trace: JSON text of the finished trace.
        build_s: seconds in a builder, at least 0.
        run_s: seconds in a runner, at least 0.

    Raises:
        UsageError: samples and status disagree, or a latency is negative.
    """

    program_hash: str
    samples_s: tuple[float, ...] = ()
    status: Status = Status.OK
    message: str = ""
    trace: str = ""
    build_s: float = 0.2
    run_s: float = 0.1

    def __post_init__(self) -> None:
        if bool(self.samples_s) != (self.status is Status.OK):
            given = f"status {self.status} with {len(self.samples_s)} samples"
            raise UsageError(f"{given}, expected samples exactly when it is ok")
        if not (self.build_s >= 0 and self.run_s >= 0):
            given = f"build_s is {self.build_s} and run_s {self.run_s}"
            raise UsageError(f"{given}, expected at least 0 seconds")


Oracle: TypeAlias = Callable[[BuildRequest], Fate]
"""Tells the fate of a candidate; the same request must always get the same answer."""


class AbstractClock(ABC):
    """Simulated seconds; never goes back."""

    @abstractmethod
    def now(self) -> float:
        """Seconds since the clock was made."""

    @abstractmethod
    def advance_to(self, moment: float) -> None:
        """Let time pass until ``moment``; nothing happens when that is over."""


@final
class VirtualClock(AbstractClock):
    """Passes only while the caller waits for workers.

    >>> clock = VirtualClock()
    >>> clock.advance_to(2.5)
    >>> clock.now()
    2.5
    """

    def __init__(self) -> None:
        self._now = 0.0

    def now(self) -> float:
        """Seconds that were waited for."""
        return self._now

    def advance_to(self, moment: float) -> None:
        """Jump ahead."""
        self._now = max(self._now, moment)


@final
class LoadClock(AbstractClock):
    """Counts the caller's own time too, and skips the time in which it would wait.

    What a caller does between two polls takes as long as it does with real workers, so this tells
    how many of them it can keep busy.
    """

    def __init__(self) -> None:
        self._skipped = -time.perf_counter()

    def now(self) -> float:
        """Real seconds and those skipped."""
        return time.perf_counter() + self._skipped

    def advance_to(self, moment: float) -> None:
        """Skip what is left until ``moment``."""
        self._skipped += max(moment - self.now(), 0.0)


@final
class SimulatedWorkers(AbstractWorkers):
    """Builders and runners as queues on a clock.

    A worker takes the oldest request that waits at the moment it becomes free, whether or not the
    caller looks; results are there from the moment at which they are due.

    Args:
        oracle: tells what becomes of a candidate.
        builders: how many builds proceed at the same time.
        runners: how many runs do.
        clock: what time is; a `VirtualClock` by default.

    Raises:
        UsageError: there is no builder or no runner.
    """

    def __init__(
        self,
        oracle: Oracle,
        *,
        builders: int = 2,
        runners: int = 1,
        clock: AbstractClock | None = None,
    ) -> None:
        if builders < 1 or runners < 1:
            given = f"builders is {builders} and runners {runners}"
            raise UsageError(f"{given}, expected at least 1 of each")
        self._oracle = oracle
        self._capacity = Capacity(builders, runners)
        self._clock = clock or VirtualClock()
        self._builders = _Station[BuildRequest](builders)
        self._runners = _Station[AnyRun](runners)
        self._fates: dict[str, Fate] = {}
        self._due: list[_Event] = []
        self._count = 0
        self._closed = False

    @property
    def capacity(self) -> Capacity:
        """As given."""
        return self._capacity

    def now(self) -> float:
        """Seconds on the clock; see `AbstractWorkers.now`."""
        return self._clock.now()

    def busy(self) -> float:
        """Share of the runners' time between the first and the last beginning of a run at work."""
        return self._runners.busy()

    def submit_build(self, request: BuildRequest) -> None:
        """Queue a build; see `AbstractWorkers.submit_build`."""
        self._submit(self._builders, request, self._build)

    def submit_run(self, request: AnyRun) -> None:
        """Queue a run; see `AbstractWorkers.submit_run`."""
        self._submit(self._runners, request, self._run)

    def poll(self, timeout_s: float = 0.0) -> Sequence[AnyResult]:
        """Results that are due; see `AbstractWorkers.poll`."""
        self._check_open()
        if not self._due:
            return ()
        found = self._collect()
        if not found and timeout_s > 0 and self._due:
            self._clock.advance_to(min(self._due[0].time_s, self._clock.now() + timeout_s))
            found = self._collect()
        return found

    def close(self) -> None:
        """Drop what is queued."""
        self._closed = True
        self._due.clear()

    def _submit(
        self, station: _Station[_R], request: _R, serve: Callable[[_R, float], _Served]
    ) -> None:
        self._check_open()
        now = self._clock.now()
        station.queue.append((request, now))
        self._start(station, serve, now)

    def _start(
        self, station: _Station[_R], serve: Callable[[_R, float], _Served], moment: float
    ) -> None:
        while station.queue and station.idle:
            request, since = station.queue.popleft()
            begin = max(moment, since)  # the worker may have been free before the request came
            result, seconds = serve(request, begin - since)
            station.begin(begin, begin + seconds)
            self._count += 1
            is_build = isinstance(result, BuildResult)
            heapq.heappush(self._due, _Event(begin + seconds, self._count, result, is_build))

    def _collect(self) -> list[AnyResult]:
        """What is due now; each end frees a worker at its own moment, not at that of the call."""
        found: list[AnyResult] = []
        now = self._clock.now()
        while self._due and self._due[0].time_s <= now:
            event = heapq.heappop(self._due)
            found.append(event.result)
            if event.is_build:
                self._builders.idle += 1
                self._start(self._builders, self._build, event.time_s)
            else:
                self._runners.idle += 1
                self._start(self._runners, self._run, event.time_s)
        return found

    def _build(self, request: BuildRequest, queue_s: float) -> _Served:
        fate, number = self._oracle(request), request.candidate_id
        if fate.status in _BUILD_STATUSES:
            result = BuildResult(
                number, fate.status, fate.message, queue_s=queue_s, build_s=fate.build_s
            )
            return result, fate.build_s
        self._fates[fate.program_hash] = fate
        artefact = Artefact(fate.program_hash, "simulated", fate.program_hash, (), 0, nan)
        output = BuildOutput(artefact, fate.program_hash, fate.trace)
        return BuildResult(number, Status.OK, "", output, queue_s, fate.build_s), fate.build_s

    def _run(self, request: AnyRun, queue_s: float) -> _Served:
        if isinstance(request, CompareRequest):
            fates = [self._fates[artefact.path] for artefact in request.artefacts]
            seconds = sum(fate.run_s for fate in fates)
            samples = tuple(fate.samples_s for fate in fates)
            return CompareResult(
                request.candidate_id, Status.OK, "", samples, queue_s, run_s=seconds
            ), seconds
        fate = self._fates[request.artefact.path]
        return RunResult(
            request.candidate_id, fate.status, fate.message, fate.samples_s,
            max_error=0.0, tolerance=0.0, queue_s=queue_s, run_s=fate.run_s,
        ), fate.run_s  # fmt: skip

    def _check_open(self) -> None:
        if self._closed:
            raise MeasureError("the simulated workers are closed; make new ones")


_Served: TypeAlias = tuple[AnyResult, float]
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True, order=True)
class _Event:
    time_s: float
    count: int
    result: AnyResult = field(compare=False)
    is_build: bool = field(compare=False)


class _Station(Generic[_R]):
    """Workers of one kind: the requests that wait, and from when to when workers were at work."""

    def __init__(self, workers: int) -> None:
        self.workers = self.idle = workers
        self.queue: deque[tuple[_R, float]] = deque()
        self._begins: list[float] = []
        self._ends: list[float] = []

    def begin(self, begin: float, end: float) -> None:
        """Send a worker to work."""
        self.idle -= 1
        self._begins.append(begin)
        self._ends.append(end)

    def busy(self) -> float:
        """Share at work between the first and the last beginning; 0 without two of them."""
        first, last = min(self._begins, default=0.0), max(self._begins, default=0.0)
        if last <= first:
            return 0.0
        served = sum(min(e, last) - b for b, e in zip(self._begins, self._ends, strict=True))
        return served / (last - first) / self.workers
