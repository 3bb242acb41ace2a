"""The tuning job: one event loop that keeps builders and runners busy and writes every result.

There is no barrier between rounds: candidates are proposed whenever few are waiting, each build
that ends becomes a run, each run that ends becomes a record and teaches the model. The loop itself
neither builds nor runs anything. Read `metasched.task` for one program's share of it.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf
from statistics import median
from typing import Final

from metasched.build import BUILD_CANDIDATE, BUILD_REFERENCE
from metasched.build import Candidate as BuildPayload
from metasched.callbacks import AbstractMeasureCallback, Measurement, make_callbacks
from metasched.database import AbstractDatabase, JobStatus, TuningRecord
from metasched.database.evidence import evidence_of
from metasched.database.records import Scalar
from metasched.errors import MeasureError, UsageError
from metasched.measure.records import (
    AnyResult,
    Artefact,
    BuildOutput,
    BuildRequest,
    BuildResult,
    CompareRequest,
    CompareResult,
    MeasureConfig,
    RunRequest,
    RunResult,
    Status,
)
from metasched.measure.workers import AbstractWorkers
from metasched.search.budget import AbstractTaskScheduler
from metasched.search.records import Candidate, Outcome
from metasched.task import Progress, Task

_BATCH: Final = 16
_MOST_ASKED: Final = 64
_FINAL_ROUNDS: Final = 15
_DESCRIBE_S: Final = 0.5
_MOST_LATE: Final = 4096
"""Records to which samples that come late can still be added."""
_BARREN: Final = 128
"""So many candidates in a row with nothing to measure end the search of a program."""
_IDS: Final = itertools.count(1)
"""Never used twice in a process: workers may still bring results of a job that was interrupted."""


@dataclass(slots=True)
class _Pending:
    task: Task
    candidate: Candidate | None
    build: BuildResult | None = None


class Job:
    """Tunes programs until a budget is spent.

    Args:
        tasks: the programs.
        workers: builders and runners; the caller closes them.
        database: receives every result.
        job_id: the job's record in the database.
        trials: candidates in all, those on record from before included.
        seconds: wall clock after which nothing new is proposed; None for no limit.
        seed: of inputs and interleaving.
        config: how candidates are measured.
        scheduler: chooses the program whose turn it is.
        observe: called with a snapshot after each event.
        callbacks: are told of the results; see `metasched.callbacks`.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        workers: AbstractWorkers,
        database: AbstractDatabase,
        *,
        job_id: str,
        trials: int,
        seconds: float | None,
        seed: int,
        config: MeasureConfig,
        scheduler: AbstractTaskScheduler,
        observe: Callable[[Progress], None],
        callbacks: Sequence[str | AbstractMeasureCallback] = (),
    ) -> None:
        self.tasks = tuple(tasks)
        self.phases: defaultdict[str, float] = defaultdict(float)
        self._workers = workers
        self._database = database
        self._job_id = job_id
        self._trials = trials
        self._seconds = seconds
        self._seed = seed
        self._config = config
        self._scheduler = scheduler
        self._observe = observe
        self._start = workers.now()
        for task in self.tasks:
            task.tuner.background = not workers.shares_cores
        self._by_target: defaultdict[str, list[int]] = defaultdict(list)
        for number, task in enumerate(self.tasks):
            self._by_target[task.target.key()].append(number)
        self._late: OrderedDict[int, tuple[Task, TuningRecord]] = OrderedDict()
        self._building: dict[int, _Pending] = {}
        self._described_s, self._description = 0.0, ""
        self._running: dict[int, _Pending] = {}
        self._callbacks = make_callbacks(callbacks)
        self._results: list[Measurement] = []

    # -- the loop ------------------------------------------------------------------------------

    def run(self) -> None:
        """Run to the end of the budget, then measure the finalists again.

        Everything measured is in the database when this returns, and also when it raises, as it
        does on Ctrl-C.

        Raises:
            MeasureError: the unscheduled program itself cannot be built or run.
        """
        status = JobStatus.FAILED
        for callback in self._callbacks:
            callback.start(self._database, self.tasks)
        try:
            self._prepare()
            while self._active():
                self._propose()
                self._handle(self._workers.poll(0.5))
            self._note_time_limit()
            self._final()
            status = JobStatus.DONE
        except KeyboardInterrupt:
            status = JobStatus.INTERRUPTED
            raise
        finally:
            try:
                self._report()
            finally:
                self._finish(status)

    def _prepare(self) -> None:
        """Build each program plainly, as what results are compared with, and by default."""
        for task in self.tasks:
            payload = BuildPayload(task.workload.text, None, (), task.target)
            reference = self._submit_build(task, None, BUILD_REFERENCE, payload)
            task.tuner.prepare()
            task.reference = _output(self._wait(reference), task.program.name).artefact
            if task.baseline_s is None:
                self._measure_default(task, payload)

    def _measure_default(self, task: Task, payload: BuildPayload) -> None:
        build = self._wait(self._submit_build(task, None, BUILD_CANDIDATE, payload))
        output = _output(build, task.program.name)
        task.hashes |= {output.program_hash, output.artefact.source_hash}
        self._measure(task, None, output.artefact, build)
        while self._running:
            self._handle(self._workers.poll(0.5))
        if task.baseline_s is None:
            reason = next(iter(task.reasons), "no result")
            raise MeasureError(f"'{task.program.name}' cannot be measured: {reason}")

    def _wait(self, wanted: int) -> BuildResult:
        """The result of a build while nothing else is under way."""
        while True:
            for result in self._workers.poll(0.5):
                if isinstance(result, BuildResult) and result.candidate_id == wanted:
                    self._building.pop(wanted)
                    return result

    def _active(self) -> bool:
        return bool(self._building or self._running or self._wants_more())

    def _wants_more(self) -> bool:
        open_tasks = any(not task.ended for task in self.tasks)
        return open_tasks and self._left() > 0 and not self._is_late()

    def _is_late(self) -> bool:
        return self._seconds is not None and self._elapsed_s() >= self._seconds

    def _elapsed_s(self) -> float:
        return self._workers.now() - self._start

    def _note_time_limit(self) -> None:
        if self._left() > 0 and self._is_late():
            for task in self.tasks:
                task.ended = task.ended or f"{self._seconds:g} seconds were over"

    def _left(self) -> int:
        spent = sum(task.trials for task in self.tasks)
        return self._trials - spent - len(self._building) - len(self._running)

    def _propose(self) -> None:
        """Ask for candidates while few wait, but never while a measurement shares our cores."""
        capacity, waiting = self._workers.capacity, len(self._building)
        served = self._in_need()
        if waiting > 2 * capacity.builders or not served or not self._wants_more():
            return
        if self._running and self._workers.shares_cores:
            return
        began = time.perf_counter()
        chosen = self._scheduler.next(served)
        if chosen is None:
            return
        task = self.tasks[chosen]
        # Where many candidates come to the same program, more must be proposed to measure as many.
        batch = max(_BATCH, capacity.builders // 2)
        wanted = min(batch, self._left()) / task.fresh_share
        candidates = task.tuner.ask(min(ceil(wanted), max(batch, _MOST_ASKED)))
        if not candidates and not waiting and not self._running:
            self._end(task, task.tuner.end)
        for candidate in candidates:
            payload = BuildPayload(
                task.workload.text,
                candidate.trace.to_json(),
                task.space.postprocs_of(candidate.trace),
                task.target,
            )
            self._submit_build(task, candidate, BUILD_CANDIDATE, payload)
        self.phases["propose"] += time.perf_counter() - began

    def _in_need(self) -> list[int]:
        """The tasks of the target whose runners have the least to do; none while all have enough.

        Targets share the builders, and a slow one must not keep them from the others.
        """
        building = Counter(id(pending.task) for pending in self._building.values())
        running = Counter(id(pending.task) for pending in self._running.values())
        least, chosen = inf, list[int]()
        for target, numbers in self._by_target.items():
            tasks = [self.tasks[number] for number in numbers]
            runners = max(1, self._workers.runners_of(target))
            runs = sum(running[id(task)] for task in tasks)
            if runs > 2 * runners or all(task.ended for task in tasks):
                continue
            share = (runs + sum(building[id(task)] for task in tasks)) / runners
            if share < least:
                least, chosen = share, numbers
        return chosen

    def _handle(self, results: Iterable[AnyResult]) -> None:
        """Take results in; they are on record before anybody is told, who may well raise."""
        touched: dict[int, Task] = {}
        for result in results:
            waiting = self._building if isinstance(result, BuildResult) else self._running
            if isinstance(result, RunResult) and result.is_late:
                self._came_late(result)
                continue
            pending = waiting.pop(result.candidate_id, None)
            if pending is None:
                continue
            if isinstance(result, BuildResult):
                self._built(pending, result)
            elif isinstance(result, RunResult):
                self._ran(pending, result)
            touched[id(pending.task)] = pending.task
        self._report()
        for task in touched.values():
            self._observe(self.progress(task))

    def _submit_build(
        self, task: Task, candidate: Candidate | None, function: str, payload: BuildPayload
    ) -> int:
        number = next(_IDS)
        self._building[number] = _Pending(task, candidate)
        self._workers.submit_build(BuildRequest(number, function, payload, task.target.key()))
        return number

    # -- results -------------------------------------------------------------------------------

    def _built(self, pending: _Pending, result: BuildResult) -> None:
        task = pending.task
        self.phases["build"] += result.build_s
        output = result.output
        if output is None:
            self._failed(pending, result.status, result.message, result)
            return
        same = {output.program_hash, output.artefact.source_hash}
        if task.hashes & same:
            # Another candidate came to the same program or source; one measurement serves both.
            task.duplicates += 1
            self._note(pending, Outcome.DUPLICATE)
            self._count_barren(task, "they came to programs that were measured before")
            return
        if self._left() + len(self._building) < 1:
            self._note(pending, Outcome.LOST)
            return
        task.hashes |= same
        self._measure(task, pending.candidate, output.artefact, result)

    def _measure(
        self, task: Task, candidate: Candidate | None, artefact: Artefact, build: BuildResult
    ) -> None:
        number = next(_IDS)
        self._running[number] = _Pending(task, candidate, build)
        self._workers.submit_run(
            RunRequest(
                number, artefact, task.reference, self._seed, self._config, task.best_s,
                task.target.key(),
            )
        )  # fmt: skip

    def _ran(self, pending: _Pending, result: RunResult) -> None:
        task, build = pending.task, pending.build
        assert build is not None
        assert build.output is not None
        self.phases["run"] += result.run_s
        self.phases["check"] += result.check_s + result.load_s
        if result.status is not Status.OK:
            self._failed(pending, result.status, result.message, build, result)
            return
        time_s = median(result.samples_s)
        task.trials += 1
        task.barren = 0
        record = self._record(pending, Status.OK, "", build, result)
        self._remember(task, result, record)
        task.measured[build.output.program_hash] = record
        task.artefacts[build.output.program_hash] = build.output.artefact
        if pending.candidate is None:
            task.baseline_s = time_s
        if task.best_s is None or time_s < task.best_s:
            task.best_s = time_s
            task.curve.append((task.trials, time_s))
        self._note(pending, Outcome.OK, record, build.output.artefact)

    def _remember(self, task: Task, result: RunResult, record: TuningRecord) -> None:
        """Keep the latest records at hand, in case a worker given up has samples of them too."""
        self._late[result.candidate_id] = (task, record)
        while len(self._late) > _MOST_LATE:
            self._late.popitem(last=False)

    def _came_late(self, result: RunResult) -> None:
        """Add the samples of a worker given up to the record; they count for no trial."""
        late = self._late.get(result.candidate_id)
        if late is not None and result.samples_s:
            record = replace(late[1], samples_s=result.samples_s)
            self._results.append(Measurement(late[0], record, None, Outcome.OK))

    def _failed(
        self,
        pending: _Pending,
        status: Status,
        message: str,
        build: BuildResult,
        run: RunResult | None = None,
    ) -> None:
        task = pending.task
        if status is Status.REJECTED:
            self._count_barren(task, message)
        else:
            task.trials += 1
            task.barren = 0
        task.failures[status.value] += 1
        task.reasons[message.splitlines()[0] if message else status.value] += 1
        if status is Status.LOST and build.output is not None:
            # Nothing is known of it, so it may be measured when it is proposed again.
            task.hashes -= {build.output.program_hash, build.output.artefact.source_hash}
        outcome = Outcome.LOST if status is Status.LOST else Outcome.FAILED
        artefact = None if build.output is None else build.output.artefact
        self._note(pending, outcome, self._record(pending, status, message, build, run), artefact)

    def _note(
        self,
        pending: _Pending,
        outcome: Outcome,
        record: TuningRecord | None = None,
        artefact: Artefact | None = None,
    ) -> None:
        """Keep a result for the callbacks, and tell the scheduler when a batch is over."""
        task = pending.task
        self._results.append(Measurement(task, record, pending.candidate, outcome, artefact))
        if pending.candidate is None or outcome is Outcome.DUPLICATE:
            return
        if (task.trials - task.resumed) % _BATCH == 0:
            self._scheduler.report(self.tasks.index(task), task.best_s)

    def _count_barren(self, task: Task, reason: str) -> None:
        """End a search whose candidates never come to a measurement, since no trial bounds it."""
        task.barren += 1
        if task.barren >= _BARREN:
            self._end(task, f"{_BARREN} candidates in a row left nothing to measure: {reason}")

    def _end(self, task: Task, reason: str) -> None:
        task.ended = task.ended or reason
        self._scheduler.finish(self.tasks.index(task))

    def _record(
        self,
        pending: _Pending,
        status: Status,
        message: str,
        build: BuildResult,
        run: RunResult | None,
    ) -> TuningRecord:
        output, task = build.output, pending.task
        trace = output.trace if output is not None else ""
        if not trace and pending.candidate is not None:
            trace = pending.candidate.trace.to_json()
        timers = {"queue": build.queue_s, "build": build.build_s}
        evidence: dict[str, Scalar] = {}
        if run is not None:
            timers |= {"load": run.load_s, "check": run.check_s, "run": run.run_s}
            evidence = evidence_of(
                run,
                reference_hash=task.reference.source_hash if task.reference else None,
                seed=self._seed,
                toolchain=task.target.toolchain,
            )
        if output is not None:
            evidence |= output.resources
            timers |= {f"build_{name}": taken_s for name, taken_s in output.detail.items()}
        return TuningRecord(
            workload=task.workload,
            target=task.target,
            trace=trace,
            program_hash=output.program_hash if output is not None else f"trace:{_hash(trace)}",
            status=status,
            message=message,
            samples_s=run.samples_s if run is not None else (),
            evidence=evidence,
            timers=timers,
            source_hash=output.artefact.source_hash if output is not None else "",
            job_id=self._job_id,
        )

    def _report(self) -> None:
        """Hand the results to the callbacks, each result once."""
        results, self._results = self._results, []
        if results:
            for callback in self._callbacks:
                callback.measured(results)

    def _finish(self, status: JobStatus) -> None:
        try:
            for callback in self._callbacks:
                callback.finish()
        finally:
            self._database.end_job(self._job_id, status)

    # -- the final -----------------------------------------------------------------------------

    def _final(self) -> None:
        """Measure the best few of each program again, in turns, so that drift picks no winner."""
        for task in self.tasks:
            close = task.finalists()
            if len(close) < 2:
                continue
            number = next(_IDS)
            artefacts = tuple(task.artefacts[r.program_hash] for r in close)
            rounds = _FINAL_ROUNDS if (task.best_s or 0.0) < 0.02 else 5
            self._workers.submit_run(
                CompareRequest(
                    number, artefacts, rounds, self._seed, self._config, task.target.key()
                )
            )
            result = self._wait_compare(number)
            self.phases["final"] += result.run_s
            if result.status is not Status.OK:
                task.reasons[f"final: {result.message}"] += 1
                continue
            for record, samples in zip(close, result.samples_s, strict=True):
                again = replace(record, samples_s=samples)
                self._results.append(Measurement(task, again, None, Outcome.OK))
                task.measured[record.program_hash] = again
            task.best_s = min(median(samples) for samples in result.samples_s)
        self._report()

    def _wait_compare(self, wanted: int) -> CompareResult:
        while True:
            for result in self._workers.poll(0.5):
                if isinstance(result, CompareResult) and result.candidate_id == wanted:
                    return result

    def progress(self, task: Task) -> Progress:
        """A snapshot, with one task in front."""
        return Progress(
            task,
            len(self.tasks),
            sum(t.trials for t in self.tasks),
            self._trials,
            self._elapsed_s(),
            len(self._building),
            len(self._running),
            dict(self.phases),
            self._workers_text(),
        )

    def _workers_text(self) -> str:
        """What workers say of themselves, asked now and then."""
        now = time.perf_counter()
        if now - self._described_s > _DESCRIBE_S:
            self._described_s, self._description = now, self._workers.describe()
        return self._description


def _output(result: BuildResult, name: str) -> BuildOutput:
    if result.output is None:
        raise MeasureError(f"'{name}' cannot be built: {result.message}")
    return result.output


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_budget(trials: int, seconds: float | None) -> None:
    """Refuse a budget that allows nothing.

    Raises:
        UsageError: trials below 1, or seconds not above 0.
    """
    if trials < 1:
        raise UsageError(f"trials={trials} is given, expected at least 1")
    if seconds is not None and seconds <= 0:
        raise UsageError(f"seconds={seconds} is given, expected more than 0")
