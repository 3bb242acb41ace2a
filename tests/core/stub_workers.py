"""Workers without processes or compilers: builds replay traces, times follow from the program."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

from metasched.build import Candidate, arg_specs
from metasched.ir.hash import structural_hash
from metasched.ir.parser import parse
from metasched.measure.records import (
    AnyResult,
    AnyRun,
    Artefact,
    BuildOutput,
    BuildRequest,
    BuildResult,
    CompareRequest,
    CompareResult,
    RunRequest,
    RunResult,
    Status,
)
from metasched.measure.workers import AbstractWorkers, Capacity
from metasched.schedule.replay import replay
from metasched.schedule.schedule import Schedule
from metasched.space.default_schedule import default_schedule
from metasched.space.postprocs import AbstractPostproc, Rejected, postprocess
from metasched.target import Target
from metasched.trace.trace import Trace

BASELINE_S = 1e-3

BuildHook = Callable[[int, BuildResult], BuildResult]
RunHook = Callable[[int, RunResult], RunResult]


class StubWorkers(AbstractWorkers):
    """One result per poll, in the order of submission, runs first.

    Args:
        on_build: may replace the result of a candidate's build; it gets the number of the build,
            counted from 0 over candidates.
        on_run: the same for runs.
        on_default: changes the run of the default schedule.
        shares_cores: what the workers say of themselves.

    Attributes:
        runs: program hashes in the order in which they were measured.
        compared: program hashes of each final.
        overlaps: builds that were submitted while a run was under way.
    """

    def __init__(
        self,
        on_build: BuildHook = lambda _, result: result,
        on_run: RunHook = lambda _, result: result,
        on_default: Callable[[RunResult], RunResult] = lambda result: result,
        shares_cores: bool = False,
    ) -> None:
        self._on_build = on_build
        self._on_run = on_run
        self._on_default = on_default
        self._shares_cores = shares_cores
        self._builds: deque[BuildRequest] = deque()
        self._runs: deque[AnyRun] = deque()
        self._defaults: set[str] = set()
        self._built = self._ran = 0
        self.runs: list[str] = []
        self.compared: list[tuple[str, ...]] = []
        self.overlaps = 0
        self.closed = False

    @property
    def capacity(self) -> Capacity:
        return Capacity(builders=2, runners=1)

    @property
    def shares_cores(self) -> bool:
        return self._shares_cores

    def submit_build(self, request: BuildRequest) -> None:
        self.overlaps += bool(self._runs)
        self._builds.append(request)

    def submit_run(self, request: AnyRun) -> None:
        self._runs.append(request)

    def poll(self, timeout_s: float = 0.0) -> Sequence[AnyResult]:
        if self._runs:
            request = self._runs.popleft()
            return [self._run(request) if isinstance(request, RunRequest) else self._time(request)]
        return [self._build(self._builds.popleft())] if self._builds else []

    def close(self) -> None:
        self.closed = True

    def _build(self, request: BuildRequest) -> BuildResult:
        candidate: Candidate = request.payload
        if candidate.trace is not None:
            number, self._built = self._built, self._built + 1
            return self._on_build(number, build(request.candidate_id, candidate))
        if request.task.endswith("reference"):
            return _finished(request.candidate_id, candidate, "reference", Trace())
        schedule = default_schedule(parse(candidate.program), candidate.target)
        name = structural_hash(schedule.program)
        self._defaults.add(name)
        return _finished(request.candidate_id, candidate, name, schedule.trace)

    def _run(self, request: RunRequest) -> RunResult:
        name = request.artefact.path
        self.runs.append(name)
        passed = RunResult(
            request.candidate_id,
            Status.OK,
            samples_s=(seconds(name),) * 3,
            max_error=1e-7,
            tolerance=1e-4,
            run_s=1e-3,
        )
        if name in self._defaults:
            return self._on_default(replace(passed, samples_s=(BASELINE_S,) * 3))
        number, self._ran = self._ran, self._ran + 1
        return self._on_run(number, passed)

    def _time(self, request: CompareRequest) -> CompareResult:
        names = tuple(artefact.path for artefact in request.artefacts)
        self.compared.append(names)
        samples = tuple((seconds(name) * 1.01,) * request.rounds for name in names)
        return CompareResult(request.candidate_id, Status.OK, samples_s=samples, run_s=1e-3)


@final
@dataclass(frozen=True)
class RefuseOrBreak(AbstractPostproc):
    """Refuses candidates with one innermost tile, and fails by accident on another."""

    name: ClassVar[str] = "refuse_or_break"

    refuse: int
    stumble: int

    def apply(self, schedule: Schedule, target: Target) -> Schedule | Rejected:
        tiles = {d[-1] for d in schedule.trace.decisions.values() if isinstance(d, tuple)}
        if self.refuse in tiles:
            return Rejected(self.name, f"tiles of {self.refuse} are refused")
        if self.stumble in tiles:
            raise ArithmeticError(f"stumbled over {self.stumble}")
        return schedule


def seconds(program_hash: str) -> float:
    """Time of a program: drawn from its hash, between a half and the whole of the baseline."""
    return BASELINE_S * (0.5 + zlib.crc32(program_hash.encode()) / 2**33)


def build(number: int, candidate: Candidate) -> BuildResult:
    """Replay and postprocess, without lowering and compiling."""
    assert candidate.trace is not None
    schedule = replay(Trace.from_json(candidate.trace), parse(candidate.program))
    done = postprocess(schedule, candidate.postprocs, candidate.target)
    if isinstance(done, Rejected):
        return BuildResult(number, Status.REJECTED, done.reason)
    return _finished(number, candidate, structural_hash(done.program), done.trace)


def _finished(number: int, candidate: Candidate, name: str, trace: Trace) -> BuildResult:
    args = arg_specs(parse(candidate.program))
    artefact = Artefact(name, "main", f"source:{name}", args, 0, 1.0)
    return BuildResult(
        number, Status.OK, output=BuildOutput(artefact, name, trace.to_json()), build_s=1e-3
    )
