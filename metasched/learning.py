"""What a tuning database teaches a cost model: samples of its records, and a test on unseen ones.

`metasched.tuning` uses the saved model; `metasched model` trains one anew and judges it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from metasched.cost.accuracy import Accuracy, judge
from metasched.cost.evaluation import layout_of
from metasched.cost.machine import machine_of
from metasched.cost.model import (
    COST_MODELS,
    AbstractCostModel,
    Floats,
    Sample,
    predict_samples,
)
from metasched.database import AbstractDatabase, TuningRecord, Workload
from metasched.errors import MetaschedError, TraceError
from metasched.ir.parser import parse
from metasched.measure.records import Status
from metasched.search.history import Measured
from metasched.search.population import Book
from metasched.search.scoring import training_samples
from metasched.search.structure_set import StructureSet
from metasched.target import Target
from metasched.trace.trace import Trace

_UNKNOWN = (Status.REJECTED, Status.LOST, Status.BUILD_TIMEOUT, Status.RUN_TIMEOUT)
"""They say nothing of a candidate's speed, or depend on the limits of a job."""


def model_features(target: Target) -> str:
    """The key under which models of a target's features are saved."""
    return str(layout_of(target).version)


def task_name(workload: Workload, target: Target) -> str:
    """The name under which a model knows a program on a target."""
    return f"{workload.hash}:{target.key()}"


def samples_of(records: Iterable[TuningRecord], workload: Workload, target: Target) -> list[Sample]:
    """Training samples of the records of one program, whatever space they came from.

    The sketches are read off the records: traces that differ in nothing but decisions share one.
    """
    program = parse(workload.text)
    known = [pair for record in records if (pair := _known(record)) is not None]
    sketches = {trace.instructions: Trace(trace.instructions) for trace, _ in known}
    structures = StructureSet(program, tuple(sketches.values()), machine_of(target))
    book, measured = Book(), list[Measured]()
    for trace, time_s in known:
        found = structures.of_trace(trace)
        if found is not None:
            measured.append(Measured(book.number(found[0]), found[1], time_s))
    return training_samples(book, measured, task_name(workload, target))


def _known(record: TuningRecord) -> tuple[Trace, float | None] | None:
    """The trace up to postprocessing, and the seconds where it ran; None for what says nothing."""
    if record.status in _UNKNOWN or not record.trace:
        return None
    try:
        trace = Trace.from_json(record.trace).without_postproc()
    except TraceError:
        return None
    return trace, record.time_s if record.is_servable else None


def all_samples(
    database: AbstractDatabase, target: Target, least: int = 1
) -> dict[str, list[Sample]]:
    """Samples of every program on record for a target, by the program's name and hash.

    Args:
        database: the records.
        target: of the records.
        least: programs with fewer samples are left out.
    """
    found: dict[str, list[Sample]] = {}
    for workload in database.workloads():
        try:
            samples = samples_of(database.records(workload.hash, target), workload, target)
        except MetaschedError:
            continue  # written by a later version
        if len(samples) >= least:
            found[f"{workload.name} {workload.hash[:8]}"] = samples
    return found


def rebuild_model(database: AbstractDatabase, target: Target, model: str) -> int:
    """Replace the saved model of a target by what all records teach; returns the samples used.

    Raises:
        UsageError: no such model.
    """
    fresh = COST_MODELS[model](layout_of(target), 0)
    known = [s for samples in all_samples(database, target).values() for s in samples]
    fresh.update(known)
    database.save_model(target.key(), model, fresh.save(), model_features(target))
    return len(known)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How a model orders the records of one program that it was not trained on.

    Attributes:
        program: name and hash.
        samples: records of the program.
        held_out: each record predicted by a model that knows all other folds of the program, and
            the other programs.
        unseen: trained on the records of all other programs only; None where there are none.
        prior: the analytic prior alone.
    """

    program: str
    samples: int
    held_out: Accuracy
    unseen: Accuracy | None
    prior: Accuracy


def evaluate_model(
    samples: dict[str, list[Sample]],
    target: Target,
    *,
    model: str = "boosted_trees",
    folds: int = 8,
    seed: int = 0,
) -> list[Evaluation]:
    """Cross-validate a cost model, program by program.

    Args:
        samples: by program, as of `all_samples`.
        target: what they were measured on.
        model: name of the model.
        folds: parts that the records of a program are divided into; each is predicted once.
        seed: of the division.
    """
    layout = layout_of(target)
    make = partial(COST_MODELS[model], layout)
    result: list[Evaluation] = []
    for name, own in samples.items():
        others = [s for other, known in samples.items() if other != name for s in known]
        parts = np.random.default_rng(seed).permutation(len(own)) % folds
        predicted = np.empty(len(own))
        for fold in range(folds):
            taught = [s for s, k in zip(own, parts, strict=True) if k != fold]
            held = [s for s, k in zip(own, parts, strict=True) if k == fold]
            predicted[parts == fold] = predict_samples(_trained(make, others, taught), held)
        held_out = _card(predicted, own)
        prior = _card(predict_samples(COST_MODELS["analytic"](layout, seed), own), own)
        unseen = _card(predict_samples(_trained(make, others, []), own), own) if others else None
        if prior is not None and held_out is not None:
            result.append(Evaluation(name, len(own), held_out, unseen, prior))
    return result


def _trained(
    make: Callable[[int], AbstractCostModel],
    others: Sequence[Sample],
    own: Sequence[Sample],
) -> AbstractCostModel:
    """A model that went through a job on other programs, was saved, and began on this one."""
    model = make(0)
    if others:
        teacher = make(0)
        teacher.update(others)
        model.load(teacher.save())
    model.update(own)
    return model


def _card(predicted: Floats, samples: Sequence[Sample]) -> Accuracy | None:
    timed = np.array([s.time_s is not None for s in samples])
    seconds = np.array([s.time_s for s in samples if s.time_s is not None], dtype=np.float64)
    return judge(["one"] * len(seconds), predicted[timed], seconds)
