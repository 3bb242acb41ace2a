"""Tuning for a dynamic dimension: a few schedules for many sizes, and the tree that picks one.

The programs of a *family* differ in one size only. A few sizes are tuned; their best schedules are
fitted to a sample of the distribution and measured there; the set of at most so many that loses
least on the sample is kept, with a guard for each. What the set loses against the best known for
each sample is stored with it. For a size never seen the guard picks a schedule, which is fitted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final, TypeAlias

from metasched.database import AbstractDatabase, TuningRecord, Workload, open_database
from metasched.database.equality import Equality, key_of
from metasched.database.evidence import evidence_of
from metasched.database.fitting import Fit, fitted
from metasched.database.records import now
from metasched.database.transfer import renamed_like
from metasched.errors import DatabaseError, ScheduleError, TraceError, UsageError
from metasched.ir.stmt import Program
from metasched.measure.open import open_workers
from metasched.measure.records import MeasureConfig, Status
from metasched.measure.workers import AbstractWorkers
from metasched.schedule.schedule import Schedule
from metasched.target import Target
from metasched.trace.trace import Trace
from metasched.trial import Trials, Tried
from metasched.tuning import tune

Family: TypeAlias = Callable[[int], Program]
"""From a size to the program of that size."""

_VERSION: Final = 1
DEFAULT: Final = -1
"""Stands for the default schedule among indices of candidates."""

_FINALISTS: Final = 2
"""Schedules of each tuned size that are tried on the sample."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A schedule of the set.

    Attributes:
        trace: JSON of the trace, as tuned for ``size``.
        size: that it was tuned for.
        fit: how its tiles go onto other sizes.
    """

    trace: str
    size: int
    fit: Fit


@dataclass(frozen=True, slots=True)
class Loss:
    """What one size of the sample loses: seconds with the set, and the best known for the size."""

    size: int
    chosen_s: float
    best_s: float


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A set of schedules for a dynamic dimension.

    Attributes:
        choices: the schedules.
        guards: ascending pairs of the largest size that a branch takes and its choice; the last
            branch takes everything above, too.
        losses: by size of the sample.
    """

    choices: tuple[Choice, ...]
    guards: tuple[tuple[int, int], ...]
    losses: tuple[Loss, ...]

    @property
    def loss(self) -> float:
        """The geometric mean over the sample of time with the set to the best known, less one."""
        ratios = [math.log(loss.chosen_s / loss.best_s) for loss in self.losses]
        return math.exp(sum(ratios) / len(ratios)) - 1

    def choice(self, size: int) -> Choice:
        """The schedule whose guard holds."""
        index = next((i for bound, i in self.guards if size <= bound), self.guards[-1][1])
        return self.choices[index]

    def schedule(self, make: Family, size: int, target: Target) -> Schedule:
        """The program of a size with the schedule of its branch.

        Raises:
            TraceError: the schedule does not fit this size.
            ScheduleError: a step was refused.
        """
        return _fit(self.choice(size), make, size, target)

    def __str__(self) -> str:
        lines = [f"{len(self.choices)} schedules, {self.loss:.1%} lost on {len(self.losses)} sizes"]
        for bound, index in self.guards:
            choice = self.choices[index]
            lines.append(f"size <= {bound}: tuned for {choice.size}, {choice.fit} other sizes")
        return "\n".join(lines)

    def to_json(self) -> str:
        """The set as one line of versioned JSON."""
        data = {
            "version": _VERSION,
            "choices": [[c.trace, c.size, str(c.fit)] for c in self.choices],
            "guards": [list(guard) for guard in self.guards],
            "losses": [[loss.size, loss.chosen_s, loss.best_s] for loss in self.losses],
        }
        return json.dumps(data, separators=(",", ":"), allow_nan=False)

    @staticmethod
    def from_json(text: str) -> Dispatch:
        """Read a set.

        Raises:
            DatabaseError: the text is none, or one of a later version.
        """
        try:
            data: dict[str, Any] = json.loads(text)
            if data["version"] != _VERSION:
                raise DatabaseError(
                    f"the dispatch tree has version {data['version']!r}, this metasched reads"
                    f" {_VERSION}; update metasched"
                )
            choices = tuple(Choice(str(t), int(s), Fit(f)) for t, s, f in data["choices"])
            guards = tuple((int(bound), int(index)) for bound, index in data["guards"])
            losses = tuple(Loss(int(s), float(a), float(b)) for s, a, b in data["losses"])
        except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
            raise DatabaseError(f"the dispatch tree is malformed: {error!s:.80}") from error
        if not guards or not all(0 <= index < len(choices) for _, index in guards):
            raise DatabaseError("the dispatch tree is malformed: a guard has no schedule")
        if not losses or not all(0 < x.best_s <= x.chosen_s < math.inf for x in losses):
            raise DatabaseError("the dispatch tree is malformed: a loss is no ratio of times")
        return Dispatch(choices, guards, losses)


def family_key(make: Family, size: int = 4096) -> str:
    """The key of a family: its program at one large size, whatever the sizes it is tuned for."""
    return f"family:{key_of(make(size), Equality.STRUCTURAL)}"


def tune_shapes(
    make: Family,
    sizes: Sequence[int],
    *,
    schedules: int = 6,
    trials: int = 192,
    sample: int = 12,
    target: str | Target = "cpu",
    database: str | AbstractDatabase = "memory:",
    seed: int = 0,
    strategy: str = "evolutionary",
    workers: str | AbstractWorkers = "local",
    measure: MeasureConfig | None = None,
    progress: bool = False,
) -> Dispatch:
    """Tune a family for a distribution of sizes, and keep the set and every result.

    Args:
        make: the family.
        sizes: the distribution: sizes as often as they occur, or a range.
        schedules: how many there may be at most.
        trials: candidates in all, shared evenly by the sizes that are tuned.
        sample: sizes that the set is measured on.
        target: what is tuned for.
        database: URL of the database, or an open one.
        seed: of the searches and the inputs.
        strategy: name of the search strategy.
        workers: builders and runners, by name or open; see `metasched.tuning.tune`.
        measure: how candidates are measured.
        progress: show progress of the searches on the terminal.

    Raises:
        UsageError: an argument is wrong.
        MeasureError: a program itself cannot be built or run.
    """
    ordered = sorted(sizes)
    if not ordered or ordered[0] < 1 or min(schedules, trials, sample) < 1:
        raise UsageError("tune_shapes needs sizes, schedules, trials and a sample of at least 1")
    goal = Target.parse(target)
    anchors = spread(ordered, schedules)
    opened = open_database(database)
    pool = open_workers(workers, (goal,)) if isinstance(workers, str) else workers
    try:
        for size in anchors:
            tune(
                make(size), target=goal, database=opened, trials=max(1, trials // len(anchors)),
                seed=seed, strategy=strategy, workers=pool, measure=measure, progress=progress,
            )  # fmt: skip
        candidates = _candidates(make, anchors, opened, goal)
        sampled = sorted({*anchors, *spread(ordered, sample)})
        trying = Trials(pool, goal, seed=seed, config=measure)
        times = {n: _times(make, n, candidates, trying, opened, goal) for n in sampled}
        result = choose(candidates, times, schedules)
        opened.save_dispatch(family_key(make), goal.key(), make(1).name, result.to_json())
    finally:
        if pool is not workers:
            pool.close()
        if opened is not database:
            opened.close()
    return result


def load_dispatch(
    make: Family, target: str | Target, database: AbstractDatabase
) -> Dispatch | None:
    """The set that was kept for a family and target, None where there is none."""
    text = database.load_dispatch(family_key(make), Target.parse(target).key())
    return None if text is None else Dispatch.from_json(text)


def spread(ordered: Sequence[int], count: int) -> list[int]:
    """So many of the sizes, evenly by rank, with the first and the last.

    >>> spread(range(1, 101), 3)
    [1, 50, 100]
    """
    if count == 1:
        return [ordered[len(ordered) // 2]]
    steps = (round(i * (len(ordered) - 1) / (count - 1)) for i in range(count))
    return sorted({ordered[step] for step in steps})


def choose(
    candidates: Sequence[Choice], times: dict[int, dict[int, float]], schedules: int
) -> Dispatch:
    """Choose the set that loses least on the sample, one schedule after the other, and its guards.

    Args:
        candidates: the schedules.
        times: seconds by size, then by index of the candidate; those that do not fit are absent.
            `DEFAULT` is the default schedule, which serves where nothing of the set fits.
        schedules: how many are chosen at most.
    """
    chosen: list[int] = []
    while len(chosen) < schedules:
        costs = {
            index: _cost([*chosen, index], times)
            for index in range(len(candidates))
            if index not in chosen
        }
        best = min(costs, key=lambda index: costs[index], default=None)
        if best is None or (chosen and costs[best] >= _cost(chosen, times)):
            break
        chosen.append(best)
    guards: list[tuple[int, int]] = []
    losses: list[Loss] = []
    for size in sorted(times):
        known = {index: time_s for index, time_s in times[size].items() if index in chosen}
        index = min(known, key=lambda i: known[i], default=chosen[0])
        place = chosen.index(index)
        if guards and guards[-1][1] != place:
            # The border lies between the two sizes, in the middle on a scale of ratios.
            guards[-1] = (round(math.sqrt(guards[-1][0] * size)), guards[-1][1])
        if guards and guards[-1][1] == place:
            guards[-1] = (size, place)
        else:
            guards.append((size, place))
        if times[size]:
            losses.append(Loss(size, _served_s(chosen, times[size]), min(times[size].values())))
    return Dispatch(tuple(candidates[i] for i in chosen), tuple(guards), tuple(losses))


def _cost(chosen: Sequence[int], times: dict[int, dict[int, float]]) -> float:
    return sum(
        math.log(_served_s(chosen, of_size) / min(of_size.values()))
        for of_size in times.values()
        if of_size
    )


def _served_s(chosen: Sequence[int], of_size: dict[int, float]) -> float:
    """Seconds of what a size is served with, which is the slowest where nothing else is known."""
    otherwise = of_size.get(DEFAULT, max(of_size.values()))
    return min((of_size[index] for index in chosen if index in of_size), default=otherwise)


def _candidates(
    make: Family, anchors: Sequence[int], database: AbstractDatabase, target: Target
) -> list[Choice]:
    found: dict[Choice, None] = {}
    for size in anchors:
        for record in database.top(make(size), target, _FINALISTS):
            found |= dict.fromkeys(Choice(record.trace, size, fit) for fit in Fit)
    return list(found)


def _fit(choice: Choice, make: Family, size: int, target: Target) -> Schedule:
    asked, original = make(size), make(choice.size)
    trace = Trace.from_json(choice.trace)
    return fitted(trace, renamed_like(asked, original), target, choice.fit)


def _times(
    make: Family,
    size: int,
    candidates: Sequence[Choice],
    trials: Trials,
    database: AbstractDatabase,
    target: Target,
) -> dict[int, float]:
    """Seconds of each schedule that fits a size; equal schedules are measured once."""
    program = make(size)
    traces: dict[str, list[int]] = {}
    for index, choice in enumerate(candidates):
        try:
            trace = _fit(choice, make, size, target).trace.to_json()
        except (TraceError, ScheduleError, DatabaseError):
            continue
        traces.setdefault(trace, []).append(index)
    tried = trials.of(program, [*traces, None])
    records = [
        record_of(program, trace, one, trials, target)
        for trace, one in zip((*traces, ""), tried, strict=True)
    ]
    database.put_many(records)
    found: dict[int, float] = {}
    for record, indices in zip(records, (*traces.values(), [DEFAULT]), strict=True):
        if record.is_servable and record.time_s is not None:
            found |= dict.fromkeys(indices, record.time_s)
    return found


def record_of(
    program: Program, trace: str, tried: Tried, trials: Trials, target: Target
) -> TuningRecord:
    """What became of a schedule, as a record."""
    run, output = tried.run, tried.output
    record = TuningRecord(
        workload=Workload.from_program(program),
        target=target,
        trace=trace if output is None else output.trace,
        program_hash=_hash(trace) if output is None else output.program_hash,
        status=tried.status,
        message=tried.message,
        source_hash="" if output is None else output.artefact.source_hash,
        created_at=now(),
    )
    if run is None or tried.status is not Status.OK:
        return record
    return replace(
        record,
        samples_s=run.samples_s,
        evidence=evidence_of(
            run,
            reference_hash=trials.reference_hash(program),
            seed=trials.seed,
            toolchain=target.toolchain,
        ),
    )


def _hash(trace: str) -> str:
    return f"trace:{sha256(trace.encode()).hexdigest()[:16]}"
