"""Strategies one by one: replay, exhaustive, picking, and the steps of the evolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import pytest

from metasched import ops
from metasched.cost.accuracy import Accuracy
from metasched.cost.baselines import AnalyticModel
from metasched.cost.machine import Machine
from metasched.cost.model import AbstractCostModel, Features, Floats, Sample
from metasched.errors import UsageError
from metasched.schedule.schedule import Schedule
from metasched.search.population import Book, Population
from metasched.search.records import Candidate
from metasched.search.scoring import Scorer
from metasched.search.strategies.droplet import Droplet, DropletOptions, neighbours
from metasched.search.strategies.evolutionary import (
    EvolutionOptions,
    accept,
    anneal,
    resample,
)
from metasched.search.strategies.exhaustive import Exhaustive
from metasched.search.strategies.picking import PickOptions, pick_best, pick_random
from metasched.search.strategies.random_search import RandomSearch
from metasched.search.strategies.replay import Replay
from metasched.search.strategies.replay_func import ReplayFunction
from metasched.search.strategies.replay_trace import ReplayTrace
from metasched.search.strategies.strategy import AbstractStrategy
from metasched.search.structure_set import StructureSet
from metasched.search.tuner import Tuner
from metasched.space.space import Space
from metasched.testing.fake_space import LAYOUT, UNROLL, FakeSpace, measure
from metasched.trace.trace import Trace
from tests.core.space.outline import TARGET


def ask(space: FakeSpace, strategy: AbstractStrategy, count: int) -> tuple[Tuner, list[Candidate]]:
    tuner = Tuner(space, AnalyticModel(LAYOUT), strategy, seed=0)
    return tuner, list(tuner.ask(count))


def scored(scores: list[float]) -> Population:
    count = len(scores)
    return Population(np.zeros(count, np.int64), np.arange(count)[:, None], np.array(scores))


def test_replay_proposes_the_given_traces_in_order() -> None:
    space = FakeSpace(valid=lambda rows: rows[:, 0] != 5)
    structure = space.all[1, 1]
    traces = [structure.trace(np.array([row, 3, 2, 1])) for row in (9, 5, 4, 9, 8)]
    foreign = Trace((), {0: (7, 7)})
    tuner, asked = ask(space, Replay([foreign, *traces]), 10)
    assert [c.row[0] for c in asked] == [9, 4, 8]
    assert [c.trace for c in asked] == [traces[0], traces[2], traces[4]]
    assert tuner.end == (
        "all 6 given traces are proposed, 1 of them left out because they belong to another space"
    )


def test_replay_survives_training_in_between() -> None:
    space = FakeSpace()
    traces = [space.all[0, 0].trace(np.array([row, 0, 0, 0])) for row in range(40)]
    tuner = Tuner(space, AnalyticModel(LAYOUT), Replay(traces), seed=0)
    asked: list[Candidate] = []
    while candidates := tuner.ask(5):
        asked += candidates
        tuner.tell(measure(candidates))
    assert [c.row[0] for c in asked] == list(range(40))


def test_exhaustive_goes_from_the_best_predicted_to_the_worst() -> None:
    space = FakeSpace(extents=((16, 2),))
    _, asked = ask(space, Exhaustive(), 1000)
    predicted = [c.predicted_log_s for c in asked[:8]]
    assert len(asked) == space.size()
    assert predicted == sorted(predicted)


def test_exhaustive_refuses_a_large_space() -> None:
    tuner, asked = ask(FakeSpace(), Exhaustive(limit=1000), 4)
    assert not asked
    assert "exhaustive search takes at most 1000" in tuner.end


def sure(book: Book) -> Scorer:
    """A scorer whose model knows no uncertainty."""
    return Scorer(book, AnalyticModel(LAYOUT))


@final
class Doubtful(AbstractCostModel):
    """The analytic prior, sure of all candidates but those of the last unroll choice."""

    def __init__(self) -> None:
        self._inner = AnalyticModel(LAYOUT)

    def predict(self, features: Features, prior_s: Floats) -> Floats:
        return self._inner.predict(features, prior_s)

    def uncertainty(self, features: Features, prior_s: Floats) -> Floats:
        return np.where(features[:, 0].max(axis=1) == UNROLL - 1, 2.0, 0.0)

    def update(self, results: Sequence[Sample]) -> Accuracy | None:
        return None

    def save(self, stored: str | None = None) -> str:
        return self._inner.save(stored)

    def load(self, text: str) -> None:
        self._inner.load(text)


def test_what_may_be_faster_than_it_looks_comes_first() -> None:
    structure = FakeSpace(extents=((1, 1),)).all[0, 0]
    (book := Book()).number(structure)
    rows = np.array([[0, unroll] for unroll in range(UNROLL)])
    population = Population(np.zeros(UNROLL, np.int64), rows, np.array([0.0, 0.1, 0.2, 0.3]))
    scorer = Scorer(book, Doubtful())
    chosen, unsure = pick_best(population, 2, PickOptions(alike=4, tile_share=1, structure_share=1),
                               scorer)  # fmt: skip
    assert chosen.rows[:, 1].tolist() == [UNROLL - 1, 0]
    assert unsure.tolist() == [2.0, 0.0]
    hopeless = PickOptions(alike=4, tile_share=1, structure_share=1, hope=0.0)
    assert pick_best(population, 2, hopeless, scorer)[0].rows[:, 1].tolist() == [0, 1]


def test_picks_are_the_best_under_the_limits() -> None:
    space, book = FakeSpace(), Book()
    for key in ((0, 0), (0, 1)):
        book.number(space.all[key])
    # 20 candidates of structure 0 with one main tile, then 20 of structure 1 with many
    owner = np.repeat([0, 1], 20)
    rows = np.zeros((40, 4), dtype=np.int64)
    rows[:, 1], rows[20:, 0] = np.arange(40), np.arange(20)
    population = Population(owner, rows, np.linspace(0, 0.2, 40))
    chosen, _ = pick_best(population, 8, PickOptions(0.25, 0.5, 0.25, 2), sure(book))
    # two of structure 0 share its main tile, four of structure 1 fill its half, the best left over
    # take the last two slots
    assert chosen.owner.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert chosen.rows[:, 1].tolist() == [0, 1, 2, 3, 20, 21, 22, 23]


def test_slots_are_filled_when_limits_leave_some_free() -> None:
    book = Book()
    book.number(FakeSpace().all[0, 0])
    rows = np.zeros((10, 4), dtype=np.int64)
    rows[:, 1] = np.arange(10)
    population = Population(np.zeros(10, np.int64), rows, np.arange(10.0))
    chosen, _ = pick_best(population, 6, PickOptions(), sure(book))
    assert chosen.scores.tolist() == [0, 1, 2, 3, 4, 5]


def test_far_worse_candidates_do_not_displace_better_ones() -> None:
    book = Book()
    for key in ((0, 0), (0, 1)):
        book.number(FakeSpace().all[key])
    rows = np.arange(20)[:, None] * np.array([[1, 1, 0, 0]])
    population = Population(np.repeat([0, 1], 10), rows, np.repeat([0.0, 3.0], 10))
    chosen, _ = pick_best(population, 8, PickOptions(), sure(book))
    assert chosen.owner.tolist() == [0] * 8


def test_random_picks_come_from_the_better_half() -> None:
    chosen = pick_random(scored([float(i) for i in range(20)]), 5, np.random.default_rng(0))
    assert len(np.unique(chosen.rows)) == 5
    assert chosen.scores.max() < 10


def test_resampling_follows_the_weights() -> None:
    drawn = resample(scored([0.0, np.log(3.0), 9.0]), 400, 1.0, np.random.default_rng(0))
    counts = np.bincount(drawn.rows[:, 0], minlength=3)
    np.testing.assert_allclose(counts, [300, 100, 0], atol=2)


def test_acceptance_takes_what_is_better_and_some_of_what_is_worse() -> None:
    count, rng = 4000, np.random.default_rng(0)
    parents = scored([0.0] * count)
    for worse, expected in ((-1.0, 1.0), (0.0, 1.0), (0.5, np.exp(-1.0)), (np.inf, 0.0)):
        taken = accept(parents, scored([worse] * count), 0.5, rng)
        assert (taken.scores == worse).mean() == pytest.approx(
            1.0 if worse == 0.0 else expected, abs=0.03
        )


def test_temperature_falls_from_hot_to_cold() -> None:
    options = EvolutionOptions(generations=3, hot=0.4, cold=0.1)
    assert [anneal(options, step) for step in range(3)] == pytest.approx([0.4, 0.2, 0.1])
    assert anneal(EvolutionOptions(generations=1, hot=0.4), 0) == 0.4


@pytest.mark.parametrize("population", [1, 8193])
def test_population_outside_its_range_is_refused(population: int) -> None:
    with pytest.raises(UsageError, match=r"expected 2 to 8192"):
        EvolutionOptions(population=population)


def test_replayed_traces_take_each_decision_anew() -> None:
    space = FakeSpace(valid=lambda rows: rows[:, 0] % 2 == 0)
    _, asked = ask(space, ReplayTrace(), 24)
    assert len({(c.structure.key, tuple(c.row)) for c in asked}) == 24
    assert len({c.structure.key for c in asked}) > 3
    assert all(c.row[0] % 2 == 0 for c in asked)
    assert {c.origin for c in asked} == {"replay_trace"}


def test_replayed_functions_are_run_for_each_candidate() -> None:
    space = FakeSpace()
    tuner, asked = ask(space, ReplayFunction(), 12)
    assert len({(c.structure.key, tuple(c.row)) for c in asked}) == 12
    assert {c.origin for c in asked} == {"replay_func"}
    tuner.tell(measure(asked))
    assert len(tuner.ask(4)) == 4


def rare(schedule: Schedule) -> None:
    """Takes one of its ways in one of about 200 runs."""
    i, *_ = schedule.get_loops(schedule.get_block("c"))
    if schedule.int_of(schedule.sample_categorical([0, 1], [0.995, 0.005])):
        schedule.split(i, schedule.sample_perfect_tile(i, 2))


def test_a_way_that_its_first_runs_missed_is_found_by_replaying_the_function() -> None:
    bound = Space.from_function(rare).on(ops.matmul(m=64, n=8, k=8), TARGET)
    assert len(bound.sketches) == 1
    traces = [sketch.trace for sketch in bound.sketches]
    machine = Machine(2, 64, 32, 4e-10, 32768, 1 << 20, 1 << 25, 1e11, 1e11, 1e10)
    structures = StructureSet(bound.program, traces, machine, run=bound.run)
    rng = np.random.default_rng(0)
    found = [structures.rerun(rng) for _ in range(1000)]
    assert len(structures.sketches) == 2
    split = next(f for f in found if f is not None and len(f[0].sites) == 1)
    trace = split[0].trace(split[1])
    assert structures.of_trace(trace) is not None
    assert len(bound.postprocs_of(trace)) == len(Space.default().postprocs or ())


def test_neighbours_are_one_step_away_at_one_site() -> None:
    structure = FakeSpace(extents=((8, 2),)).all[0, 0]
    row = np.array([1, 0])
    rows = neighbours(structure, row)
    assert [structure.tables[0][r[0]].tolist() for r in rows if r[1] == 0] == [
        [1, 8],
        [4, 2],
        [8, 1],
    ]
    assert [r.tolist() for r in rows if r[0] == 1] == [[1, 1]]


def test_droplet_descends_to_a_local_optimum_and_then_goes_on() -> None:
    space = FakeSpace(extents=((64, 3), (64, 2)), sketches=1, locations=1)
    (structure,) = space.all.values()
    tuner = Tuner(
        space, AnalyticModel(LAYOUT), Droplet(RandomSearch(), DropletOptions(8, 1)), seed=1
    )
    origins: list[str] = []
    for _ in range(40):
        asked = tuner.ask(8)
        origins += [c.origin for c in asked]
        tuner.tell(measure(asked))
    best, seconds = tuner.best or pytest.fail("nothing was measured")
    rows = neighbours(structure, best.row)
    assert seconds <= structure.seconds(rows).min()
    first = origins.index("droplet")
    assert set(origins[:first]) == {"random"}
    assert "random" in origins[first:], "a local optimum is not the end"
