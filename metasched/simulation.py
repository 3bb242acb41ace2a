"""Search settings compared offline: a search runs against results that are on record.

`Recorded` answers for builders and runners. What was measured is replayed; the time of any other
candidate follows from the measured ones nearest to it, or from a cost model trained on all records.
A simulation is a function of records, settings and seed, bit for bit.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from metasched.build import BUILD_REFERENCE
from metasched.cost.evaluation import layout_of
from metasched.cost.machine import machine_of
from metasched.cost.model import COST_MODELS, AbstractCostModel, Floats, Sample
from metasched.database import AbstractDatabase, TuningRecord, Workload, open_database
from metasched.errors import TraceError, UsageError, suggest
from metasched.ir.hash import structural_hash
from metasched.ir.parser import parse
from metasched.ir.stmt import Program
from metasched.learning import model_features, samples_of
from metasched.measure.records import BuildRequest, Status
from metasched.measure.simulated import Fate, SimulatedWorkers
from metasched.search.problem import Ints
from metasched.search.structure import Structure
from metasched.search.structure_set import StructureSet
from metasched.space.default_schedule import default_schedule
from metasched.space.space import Space
from metasched.target import Target
from metasched.trace.trace import Trace
from metasched.tuning import TuneResult, tune

UNMEASURED: Final = ("nearest", "model")
"""Where the time of a candidate that was not measured may come from."""
_NEIGHBOURS: Final = 4
_LEAST: Final = 16
"""Fewer measured candidates describe no landscape."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """What one simulated search came to.

    Attributes:
        result: as `metasched.tune` gives it; its seconds are simulated ones.
        records_best_s: the fastest candidate on record.
        replayed: candidates whose recorded result was replayed; the others were estimated.
    """

    result: TuneResult
    records_best_s: float
    replayed: int


def simulate(
    program: Program,
    database: AbstractDatabase,
    *,
    target: str | Target = "cpu",
    trials: int = 64,
    seed: int = 0,
    space: Space | None = None,
    strategy: str = "evolutionary",
    model: str = "boosted_trees",
    saved_model: str | None = None,
    unmeasured: str = "nearest",
    builders: int = 2,
    runners: int = 1,
) -> Simulated:
    """Search a program against its records; nothing is built, run or written.

    Args:
        program: a program with records.
        database: the records.
        target: of the records.
        trials: candidates in all.
        seed: of the search.
        space: the search space; the default of the target when None.
        strategy: name of the search strategy.
        model: name of the cost model.
        saved_model: text of a saved model to start from; None starts cold.
        unmeasured: "nearest" or "model", see `Recorded`.
        builders: simulated builders.
        runners: simulated runners.

    Raises:
        UsageError: an argument is wrong, or there are too few records of the program.
    """
    goal = Target.parse(target)
    chosen = space or Space.default(goal.kind)
    oracle = Recorded(program, database, goal, chosen, unmeasured=unmeasured)
    with open_database("memory:") as fresh:
        if saved_model is not None:
            fresh.save_model(goal.key(), model, saved_model, model_features(goal))
        result = tune(
            program, target=goal, database=fresh, trials=trials, seed=seed, space=chosen,
            strategy=strategy, model=model,
            workers=SimulatedWorkers(oracle, builders=builders, runners=runners),
        )  # fmt: skip
    assert isinstance(result, TuneResult)
    return Simulated(result, oracle.best_s, oracle.replayed)


@final
class Recorded:
    """The fate of each candidate of one program, from records.

    Args:
        program: what is tuned.
        database: the records of it.
        target: of the records.
        space: where candidates come from.
        unmeasured: where the time of a candidate comes from that is not on record. "nearest" takes
            the mean error of the analytic prior over the four candidates with the nearest features;
            "model" trains boosted trees on all records, which flatters a search that uses them.

    Attributes:
        best_s: the fastest candidate on record.
        replayed: how many candidates were on record.

    Raises:
        UsageError: there are too few records, or ``unmeasured`` is unknown.
    """

    def __init__(
        self,
        program: Program,
        database: AbstractDatabase,
        target: Target,
        space: Space,
        *,
        unmeasured: str = "nearest",
    ) -> None:
        if unmeasured not in UNMEASURED:
            hint = suggest(unmeasured, UNMEASURED)
            raise UsageError(f"unknown source of times '{unmeasured}'{hint}")
        workload = Workload.from_program(program)
        records = [
            r for r in database.records(workload.hash, target) if _text_of(r) == str(program)
        ]
        timed = [r.time_s for r in records if r.is_servable and r.time_s is not None]
        if len(timed) < _LEAST:
            raise UsageError(
                f"'{program.name}' has {len(timed)} measured records for {target}, and simulating "
                f"takes {_LEAST} or more; tune it first"
            )
        self.best_s = min(timed)
        self.replayed = 0
        default = default_schedule(program, target)
        self._default, self._default_hash = default.trace, structural_hash(default.program)
        self._by_hash = {r.program_hash: r for r in records}
        self._structures = _structures(program, records, target, space, default.trace)
        self._exact = _exact(records, self._structures)
        samples = samples_of(records, workload, target)
        self._times: _Times = (
            _Nearest(samples) if unmeasured == "nearest" else _Learned(samples, target)
        )
        self._build_s = _typical(records, "build", 0.2)
        self._run_s = _typical(records, "run", 0.1)

    def __call__(self, request: BuildRequest) -> Fate:
        """What becomes of a build request; see `metasched.measure.simulated.Oracle`."""
        if request.task == BUILD_REFERENCE:
            return Fate("reference", (1.0,), build_s=self._build_s)
        text: str | None = request.payload.trace
        if text is None and self._default_hash in self._by_hash:
            return self._replay(self._by_hash[self._default_hash])
        trace = self._default.without_postproc() if text is None else Trace.from_json(text)
        found = self._structures.of_trace(trace)
        if found is None:
            name = "the default schedule" if text is None else "a candidate"
            raise TraceError(f"{name} is of no sketch of the space or of a record")
        record = self._exact.get(_key(*found))
        return self._estimate(*found, trace) if record is None else self._replay(record)

    def _replay(self, record: TuningRecord) -> Fate:
        self.replayed += 1
        return Fate(
            record.program_hash,
            record.samples_s if record.status is Status.OK else (),
            record.status,
            record.message,
            record.trace,
            record.timers.get("build", self._build_s),
            record.timers.get("run", self._run_s),
        )

    def _estimate(self, structure: Structure, row: Ints, trace: Trace) -> Fate:
        seen = structure.evaluate(row[None, :])
        text = trace.to_json()
        name = f"trace:{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        seconds = math.exp(self._times.log_s(seen.features, seen.prior_s))
        return Fate(name, (seconds,) * 3, trace=text, build_s=self._build_s, run_s=self._run_s)


class _Nearest:
    """The prior, corrected as it has to be for the nearest measured candidates."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        timed = [s for s in samples if s.time_s is not None]
        points = np.stack([_point(s.features, s.prior_s) for s in timed])
        self._mean = points.mean(axis=0)
        spread = points.std(axis=0)
        self._scale = np.where(spread > 1e-9, spread, np.inf)
        self._points = (points - self._mean) / self._scale
        prior = np.array([math.log(s.prior_s.sum()) for s in timed])
        self._error = np.array([math.log(s.time_s or math.nan) for s in timed]) - prior

    def log_s(self, features: NDArray[np.float32], prior_s: Floats) -> float:
        """Log-seconds of one candidate, features ``(1, stores, F)``."""
        point = (_point(features[0], prior_s[0]) - self._mean) / self._scale
        distance = np.sqrt(((self._points - point) ** 2).sum(axis=1))
        near = np.argsort(distance, kind="stable")[:_NEIGHBOURS]
        weight = 1.0 / (distance[near] + 1e-6)
        error = float((weight * self._error[near]).sum() / weight.sum())
        return math.log(prior_s.sum()) + error


class _Learned:
    """Boosted trees that know all records."""

    def __init__(self, samples: Sequence[Sample], target: Target) -> None:
        self._model: AbstractCostModel = COST_MODELS["boosted_trees"](layout_of(target), 1)
        self._model.update(samples)
        timed = [s for s in samples if s.time_s is not None]
        # Models know the order of a task's times; what is missing is their scale.
        offsets = [
            math.log(s.time_s or math.nan)
            - float(self._model.predict(s.features[None], s.prior_s[None])[0])
            for s in timed
        ]
        self._offset = float(np.median(offsets))

    def log_s(self, features: NDArray[np.float32], prior_s: Floats) -> float:
        """Log-seconds of one candidate, features ``(1, stores, F)``."""
        return float(self._model.predict(features, prior_s)[0]) + self._offset


_Times = _Nearest | _Learned


def _point(features: NDArray[np.float32], prior_s: Floats) -> Floats:
    """A candidate as one vector: means of its stores weighted by their time, and maxima."""
    share = prior_s / prior_s.sum()
    mean = (share[:, None] * features).sum(axis=0)
    return np.concatenate([mean, features.max(axis=0), [math.log(prior_s.sum())]])


def _structures(
    program: Program,
    records: Iterable[TuningRecord],
    target: Target,
    space: Space,
    default: Trace,
) -> StructureSet:
    """Structures of the space, of the default schedule and of what is on record."""
    traces = [sketch.trace for sketch in space.on(program, target).sketches]
    traces.append(default.without_postproc())
    traces += [trace for record in records if (trace := _trace_of(record)) is not None]
    sketches = {trace.instructions: Trace(trace.instructions) for trace in traces}
    return StructureSet(program, tuple(sketches.values()), machine_of(target))


_Key = tuple[object, bytes]


def _exact(records: Iterable[TuningRecord], structures: StructureSet) -> dict[_Key, TuningRecord]:
    found: dict[_Key, TuningRecord] = {}
    for record in records:
        trace = _trace_of(record)
        place = None if trace is None else structures.of_trace(trace)
        if place is not None and record.status is not Status.LOST:
            found[_key(*place)] = record
    return found


def _key(structure: Structure, row: Ints) -> _Key:
    return structure.key, row.tobytes()


def _trace_of(record: TuningRecord) -> Trace | None:
    try:
        return Trace.from_json(record.trace).without_postproc() if record.trace else None
    except TraceError:
        return None


def _text_of(record: TuningRecord) -> str:
    """The program's text in the form in which it is printed now."""
    return str(parse(record.workload.text))


def _typical(records: Sequence[TuningRecord], timer: str, default: float) -> float:
    seconds = [r.timers[timer] for r in records if r.timers.get(timer, 0.0) > 0.0]
    return float(np.median(seconds)) if seconds else default
