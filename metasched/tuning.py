"""`tune`: search the space of one or several programs and keep every result in a database."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from metasched.analysis.flops import flops
from metasched.callbacks import AbstractMeasureCallback, make_callbacks
from metasched.compiling import Kernel
from metasched.cost.evaluation import layout_of
from metasched.cost.machine import AnyMachine, machine_of
from metasched.cost.model import COST_MODELS, AbstractCostModel
from metasched.database import AbstractDatabase, TuningRecord, Workload, open_database
from metasched.errors import TraceError, UsageError
from metasched.instant import instant
from metasched.ir.expr import int_value
from metasched.ir.hash import structural_hash
from metasched.ir.stmt import Program
from metasched.job import Job, check_budget
from metasched.learning import model_features, task_name
from metasched.measure.open import find_workers, open_workers
from metasched.measure.records import MeasureConfig, Status
from metasched.measure.workers import AbstractWorkers
from metasched.search.budget import TASK_SCHEDULERS, SchedulerFactory
from metasched.search.records import Known
from metasched.search.strategies import STRATEGIES, StrategySettings
from metasched.search.structure_set import StructureSet
from metasched.search.tuner import Tuner, TunerOptions
from metasched.space.default_schedule import default_schedule
from metasched.space.space import Space
from metasched.target import Target
from metasched.task import Progress, Task
from metasched.trace.trace import Trace

Programs = Program | Sequence[Program | tuple[Program, float]]


@dataclass(frozen=True, slots=True)
class TuneResult:
    """What tuning one program came to.

    Attributes:
        program: the program.
        best: the best record; None when nothing could be served.
        baseline_s: seconds of the default schedule, measured in the job that began the search.
        trials: candidates on record for the program and target, earlier jobs included.
        measured: candidates of this job.
        failures: failed candidates of this job by status.
        reasons: their messages, counted.
        curve: ``(trial, best seconds so far)`` at each improvement.
        flops: operations of one call.
        seconds: wall clock of the whole job.
        phases: seconds by phase: propose (this process), build, check, run, final (workers).
        ended: why the search ended before its budget, else empty.
        kernel: of ``trials=0``: the candidate that the saved model expects to be fastest, compiled
            and neither run nor checked.
    """

    program: Program
    best: TuningRecord | None
    baseline_s: float | None
    trials: int
    measured: int
    failures: Mapping[str, int]
    reasons: Mapping[str, int]
    curve: tuple[tuple[int, float], ...]
    flops: float
    seconds: float
    phases: Mapping[str, float]
    ended: str
    kernel: Kernel | None = None

    @property
    def best_s(self) -> float | None:
        """Seconds of the best record."""
        return None if self.best is None else self.best.time_s

    @property
    def speedup(self) -> float | None:
        """How many times faster than the default schedule the best record is."""
        if self.best_s is None or self.baseline_s is None:
            return None
        return self.baseline_s / self.best_s


def tune(
    program: Programs,
    *,
    target: str | Target | Sequence[str | Target] = "cpu",
    database: str | AbstractDatabase = "memory:",
    trials: int = 64,
    seconds: float | None = None,
    seed: int = 0,
    space: Space | None = None,
    strategy: str = "evolutionary",
    scheduler: str | SchedulerFactory = "gradient",
    callbacks: Sequence[str | AbstractMeasureCallback] = (),
    model: str | AbstractCostModel = "boosted_trees",
    warm_start: bool = True,
    workers: str | AbstractWorkers = "local",
    measure: MeasureConfig | None = None,
    stop_below: float = 0.0,
    progress: bool | Callable[[Progress], None] = False,
) -> TuneResult | tuple[TuneResult, ...]:
    """Search for fast schedules and keep every result in the database.

    Args:
        program: a program, or several that share the budget, each alone or with a weight.
        target: what to tune for; "cpu" is this host. Several targets share the budget and the
            builders; each has a search of its own.
        database: URL of the tuning database, or an open one.
        trials: candidates in all, those that the database holds from earlier jobs included, so the
            same call resumes an interrupted job and measures nothing twice. With 0 nothing is
            measured: candidates are ranked by the cost model that the database keeps of the
            target, and the best is compiled (`TuneResult.kernel`).
        seconds: wall clock after which nothing new is proposed.
        seed: seed of the search and of the inputs.
        space: the search space; the default of the target when None.
        strategy: name of the search strategy.
        scheduler: how several programs share the budget: "gradient" (where most is to be gained),
            "round_robin", or a function from the weights to a task scheduler.
        callbacks: are told of every result, by name or made; see `metasched.callbacks`.
        model: name of the cost model, or a model.
        warm_start: start a model that is given by name from what earlier jobs on this database and
            target taught it. What this job teaches it is kept in any case.
        workers: "local"; "ray" for Ray on this machine, "ray://head:10001" for a fleet; or an
            object, which the caller closes.
        measure: how candidates are measured.
        stop_below: end the search of a program when no candidate is expected to beat its best by
            this share of the time, as far as the cost model can tell; 0 spends the whole budget.
        progress: show progress on the terminal, or call a function with snapshots.

    Returns:
        One result for a single program and target, else a tuple in the order given: all programs
        of the first target, then those of the next.

    Raises:
        UsageError: an argument is wrong, or there is no saved model for ``trials=0``; nothing was
            started.
        MeasureError: the unscheduled program itself cannot be built or run.
        KeyboardInterrupt: on Ctrl-C, with everything measured so far in the database.
    """
    began = time.perf_counter()
    if trials:
        check_budget(trials, seconds)
    if not 0.0 <= stop_below < 1.0:
        raise UsageError(f"stop_below={stop_below} is given, expected a share from 0 to below 1")
    programs = _programs(program)
    goals = _goals(target)
    _check_names(strategy, model, workers)
    schedule = TASK_SCHEDULERS[scheduler] if isinstance(scheduler, str) else scheduler
    make_callbacks(callbacks)  # refuses wrong ones before anything is started
    setups = [
        _Setup(
            goal, space or Space.default(goal.kind), machine_of(goal),
            strategy, model, seed, warm_start, max(trials // len(programs) // len(goals), 1),
            stop_below,
        )
        for goal in goals
    ]  # fmt: skip
    is_single = isinstance(program, Program) and isinstance(target, str | Target)
    opened = open_database(database)
    settings = {"trials": trials, "seconds": seconds, "seed": seed, "strategy": strategy}
    phases: Mapping[str, float] = {}
    try:
        if not trials:
            unmeasured = tuple(_unmeasured(p, one, opened) for one in setups for p, _ in programs)
            return unmeasured[0] if is_single else unmeasured
        tasks = [_task(p, weight, one, opened) for one in setups for p, weight in programs]
        if sum(task.trials for task in tasks) < trials:
            with _workers(workers, goals) as pool, _observer(progress, goals[0]) as observe:
                job = Job(
                    tasks, pool, opened, job_id=opened.start_job(settings).id,
                    trials=trials, seconds=seconds,
                    seed=seed, config=measure or MeasureConfig(), observe=observe,
                    scheduler=schedule([task.weight for task in tasks]),
                    callbacks=callbacks,
                )  # fmt: skip
                try:
                    job.run()
                finally:
                    for one in setups:
                        mine = [task for task in tasks if task.target == one.target]
                        _save_models(mine, one, opened)
            phases = dict(job.phases)
        wall = time.perf_counter() - began
        results = tuple(_result(task, opened, wall, phases) for task in tasks)
    finally:
        if opened is not database:
            opened.close()
    return results[0] if is_single else results


def _check_names(
    strategy: str, model: str | AbstractCostModel, workers: str | AbstractWorkers
) -> None:
    """Refuse unknown names before the database is opened, which would create its file."""
    _ = STRATEGIES[strategy]
    if isinstance(model, str):
        _ = COST_MODELS[model]
    if isinstance(workers, str):
        find_workers(workers)


@dataclass(frozen=True, slots=True)
class _Setup:
    """What the tasks of a job share."""

    target: Target
    space: Space
    machine: AnyMachine
    strategy: str
    model: str | AbstractCostModel
    seed: int
    warm_start: bool = True
    trials: int = 64
    stop_below: float = 0.0


def _programs(given: Programs) -> list[tuple[Program, float]]:
    """Programs with weights, each a different one whose sizes are all known."""
    pairs = [_pair(item) for item in (given if isinstance(given, Sequence) else (given,))]
    if not pairs:
        raise UsageError("tune expects at least one program, got none")
    seen: set[str] = set()
    for program, _ in pairs:
        key = Workload.from_program(program).hash
        if key in seen:
            raise UsageError(f"'{program.name}' is given twice; give it once with a weight of 2")
        seen.add(key)
    return pairs


def _goals(given: str | Target | Sequence[str | Target]) -> tuple[Target, ...]:
    """Targets, each a different one."""
    named = [given] if isinstance(given, str | Target) else list(given)
    goals = tuple(map(Target.parse, named))
    if not goals or len({goal.key() for goal in goals}) < len(goals):
        raise UsageError(f"tune expects different targets, got {[str(goal) for goal in goals]}")
    return goals


def _pair(item: Program | tuple[Program, float]) -> tuple[Program, float]:
    pair = item if isinstance(item, tuple) else (item, 1.0)
    if len(pair) != 2 or not isinstance(pair[0], Program) or not pair[1] > 0:  # pyright: ignore[reportUnnecessaryComparison, reportUnnecessaryIsInstance]
        raise UsageError(f"tune expects programs or (program, weight > 0) pairs, got {item!r}")
    program = pair[0]
    symbolic = [n for p in program.params for n in p.shape if int_value(n) is None]
    if symbolic:
        raise UsageError(
            f"'{program.name}' has the symbolic size '{symbolic[0]}', which cannot be tuned yet; "
            "give it a number, or compile it without tuning"
        )
    return pair


def _task(program: Program, weight: float, setup: _Setup, database: AbstractDatabase) -> Task:
    """One program's search, continued from what the database holds."""
    workload = Workload.from_program(program)
    records = list(database.records(workload.hash, setup.target))
    bound = setup.space.on(program, setup.target)
    settings = StrategySettings(
        mutators=setup.space.mutators_on(setup.target),
        trials=setup.trials,
        storage=_study_storage(database.url),
        study=f"{program.name} {workload.hash[:8]} {setup.target}",
    )
    tuner = Tuner(
        StructureSet(
            program, [sketch.trace for sketch in bound.sketches], setup.machine, run=bound.run
        ),
        _model(setup, database),
        STRATEGIES[setup.strategy](settings),
        seed=setup.seed,
        task=task_name(workload, setup.target),
        options=TunerOptions(stop_below=setup.stop_below),
        known=[
            known
            # Traces name blocks, so those of another spelling of the program do not replay on it.
            for record in records
            if record.workload.text == workload.text and (known := _known(record)) is not None
        ],
    )
    measured = [record for record in records if record.status not in _NOT_COUNTED]
    times = [r.time_s for r in measured if r.is_servable and r.time_s is not None]
    return Task(
        program,
        workload,
        setup.target,
        tuner,
        bound,
        weight,
        flops(program),
        baseline_s=_baseline_s(program, setup.target, measured),
        best_s=min(times, default=None),
        trials=len(measured),
        resumed=len(measured),
        hashes={key for r in measured for key in (r.program_hash, r.source_hash) if key},
    )


def _study_storage(url: str) -> str | None:
    """Where a study of Optuna is kept: beside an SQLite file, else nowhere.

    Not inside it: both Optuna and the database note their schema in a table ``alembic_version``.
    """
    if not url.startswith("sqlite:///") or not url.endswith(".db"):
        return None
    return f"{url.removesuffix('.db')}.optuna.db"


def _unmeasured(program: Program, setup: _Setup, database: AbstractDatabase) -> TuneResult:
    """What the saved model alone says of a program."""
    began = time.perf_counter()
    if not isinstance(setup.model, str):
        raise UsageError("trials=0 ranks by a saved cost model; give model= by its name")
    kernel = instant(
        program, setup.target, database, setup.space,
        model=setup.model, strategy=setup.strategy, seed=setup.seed,
    )  # fmt: skip
    return TuneResult(
        program, database.best(Workload.from_program(program).hash, setup.target), None, 0, 0,
        {}, {}, (), flops(program), time.perf_counter() - began, {},
        "nothing was measured, as trials=0 asks for", kernel,
    )  # fmt: skip


def _model(setup: _Setup, database: AbstractDatabase) -> AbstractCostModel:
    """The model of a task: the user's own, or one that starts from what the database keeps."""
    if not isinstance(setup.model, str):
        return setup.model
    model = COST_MODELS[setup.model](layout_of(setup.target), setup.seed)
    if setup.warm_start:
        stored = database.load_model(setup.target.key(), setup.model, model_features(setup.target))
        try:
            if stored is not None:
                model.load(stored)
        except UsageError as error:
            warnings.warn(f"starting without the saved cost model: {error}", stacklevel=3)
    return model


def _save_models(tasks: Sequence[Task], setup: _Setup, database: AbstractDatabase) -> None:
    """Keep what the models of a job learned, beside what other jobs saved meanwhile."""
    if not isinstance(setup.model, str):
        return
    key = setup.target.key()
    text = database.load_model(key, setup.model, model_features(setup.target))
    for task in tasks:
        task.tuner.learn_rest()
        try:
            text = task.tuner.model.save(text)
        except UsageError:
            text = task.tuner.model.save()  # what is stored cannot be read; see `_model`
    if text is not None:
        database.save_model(key, setup.model, text, model_features(setup.target))


def _baseline_s(program: Program, target: Target, measured: Sequence[TuningRecord]) -> float | None:
    """Seconds of the default schedule, where it was measured before."""
    if not measured:
        return None
    wanted = structural_hash(default_schedule(program, target).program)
    found = (r.time_s for r in measured if r.program_hash == wanted and r.is_servable)
    return next(found, None)


_NOT_COUNTED = (Status.REJECTED, Status.LOST)
"""Such records spend no trial: nothing was built, or nothing is known."""


def _known(record: TuningRecord) -> Known | None:
    """A record as the tuner knows it: the trace up to postprocessing."""
    if record.status is Status.LOST or not record.trace:
        return None
    try:
        trace = Trace.from_json(record.trace).without_postproc()
    except TraceError:
        return None
    return Known(trace, record.time_s if record.is_servable else None)


@contextmanager
def _workers(given: str | AbstractWorkers, targets: Sequence[Target]) -> Generator[AbstractWorkers]:
    if isinstance(given, AbstractWorkers):
        yield given
        return
    with open_workers(given, targets) as pool:
        yield pool


@contextmanager
def _observer(
    progress: bool | Callable[[Progress], None], target: Target
) -> Generator[Callable[[Progress], None]]:
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda _: None
    else:
        from metasched.progress import display

        with display(target) as show:
            yield show


def _result(
    task: Task,
    database: AbstractDatabase,
    seconds: float,
    phases: Mapping[str, float],
) -> TuneResult:
    return TuneResult(
        program=task.program,
        best=database.best(task.workload.hash, task.target),
        baseline_s=task.baseline_s,
        trials=task.trials,
        measured=task.trials - task.resumed,
        failures=dict(task.failures),
        reasons=dict(task.reasons),
        curve=tuple(task.curve),
        flops=task.flops,
        seconds=seconds,
        phases=phases,
        ended=task.ended,
    )
