"""Optuna's samplers: what they suggest, what they are told, and what is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pytest

from metasched import ops
from metasched.cost.baselines import AnalyticModel
from metasched.cost.evaluation import layout_of
from metasched.cost.machine import Machine
from metasched.errors import UsageError
from metasched.search.records import Candidate, Outcome, Result
from metasched.search.strategies.optuna_search import KINDS, Kind, OptunaSearch
from metasched.search.strategies.random_search import RandomSearch
from metasched.search.strategies.strategy import AbstractStrategy
from metasched.search.structure_set import StructureSet
from metasched.search.tuner import Tuner
from metasched.space.space import Space
from metasched.testing.fake_space import LAYOUT, FakeSpace, measure
from metasched.tuning import tune
from tests.core.space.outline import TARGET
from tests.core.stub_workers import StubWorkers

MACHINE = Machine(2, 64, 32, 1e-9, 32768, 1 << 20, 1 << 25, 5e10, 2e10, 1e10)

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def search(strategy: AbstractStrategy, trials: int, seed: int = 0) -> tuple[Tuner, list[Candidate]]:
    """Ask for eight at a time and tell their times."""
    space = FakeSpace(extents=((256, 4), (128, 4), (64, 2)), sketches=1, locations=2)
    tuner = Tuner(space, AnalyticModel(LAYOUT), strategy, seed=seed)
    asked: list[Candidate] = []
    while len(asked) < trials:
        candidates = tuner.ask(8)
        asked += candidates
        tuner.tell(measure(candidates))
    return tuner, asked


def test_tpe_learns_from_what_it_is_told_and_proposes_nothing_twice() -> None:
    found: dict[str, float] = {}
    for name, make in (
        ("tpe", lambda: OptunaSearch(KINDS["optuna_tpe"])),
        ("random", RandomSearch),
    ):
        best = []
        for seed in range(3):
            tuner, asked = search(make(), 96, seed)
            assert len({(c.structure.key, tuple(c.row)) for c in asked}) == len(asked) == 96
            assert tuner.best is not None
            best.append(tuner.best[1])
        found[name] = sum(best)
    assert found["tpe"] < found["random"]


def test_same_seed_same_suggestions() -> None:
    def rows() -> list[list[int]]:
        return [c.row.tolist() for c in search(OptunaSearch(KINDS["optuna_tpe"]), 40)[1]]

    assert rows() == rows()


def test_the_study_holds_the_results_and_a_second_search_begins_its_own(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    for _ in range(2):
        search(OptunaSearch(KINDS["optuna_tpe"], storage, "matmul"), 16)[0].learn_rest()
    names = sorted(optuna.get_all_study_names(storage))
    assert names == ["matmul", "matmul #2"]
    trials = optuna.load_study(study_name="matmul", storage=storage).get_trials()
    told = [trial for trial in trials if trial.state is optuna.trial.TrialState.COMPLETE]
    assert len(told) == 16
    assert all(trial.values is not None for trial in told)


def test_failures_are_told_as_failures() -> None:
    strategy = OptunaSearch(KINDS["optuna_tpe"])
    space = FakeSpace(sketches=1, locations=1)
    tuner = Tuner(space, AnalyticModel(LAYOUT), strategy, seed=0)
    for _ in range(3):
        candidates = tuner.ask(8)
        tuner.tell([Result(c.id, Outcome.FAILED) for c in candidates])
        tuner.learn_rest()
    states = {trial.state for trial in strategy._study.get_trials()}
    assert optuna.trial.TrialState.FAIL in states
    assert optuna.trial.TrialState.COMPLETE not in states


def test_time_and_memory_are_two_objectives() -> None:
    strategy = OptunaSearch(KINDS["optuna_nsga2"])
    program = ops.matmul(m=64, n=48, k=32)
    bound = Space.default("cpu").on(program, TARGET)
    sketches = [sketch.trace for sketch in bound.sketches]
    structures = StructureSet(program, sketches, MACHINE)
    tuner = Tuner(structures, AnalyticModel(layout_of(TARGET)), strategy, seed=0)
    for _ in range(4):
        asked = tuner.ask(12)
        tuner.tell([Result(c.id, Outcome.OK, float(np.exp(c.predicted_log_s))) for c in asked])
    trials = [trial for trial in strategy._study.get_trials() if trial.values]
    assert all(len(trial.values) == 2 for trial in trials)
    assert len({trial.values[1] for trial in trials}) > 1, "candidates differ in their memory"


def test_a_missing_package_is_named() -> None:
    with pytest.raises(UsageError, match="CmaEsSampler needs the package 'no_such_package'"):
        OptunaSearch(Kind("CmaEsSampler", package="no_such_package"))


def test_a_space_without_structures_ends_with_the_reason() -> None:
    space = FakeSpace(sketches=0)
    tuner = Tuner(space, AnalyticModel(LAYOUT), OptunaSearch(KINDS["optuna_tpe"]), seed=0)
    assert tuner.ask(4) == ()
    assert "the space has no structure" in tuner.end


@pytest.mark.cc
def test_tuning_keeps_the_study_beside_the_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tuning.db'}"
    program = ops.matmul(m=64, n=48, k=32)
    tune(program, database=url, workers=StubWorkers(), trials=12, strategy="optuna_tpe")
    (study,) = optuna.get_all_study_summaries(f"sqlite:///{tmp_path / 'tuning.optuna.db'}")
    assert study.study_name.startswith("matmul ")
    assert study.best_trial is not None
