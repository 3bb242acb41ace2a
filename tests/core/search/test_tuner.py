"""The ask/tell core on a synthetic landscape: determinism, dedupe, quality, clear ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from metasched.cost.accuracy import Accuracy
from metasched.cost.baselines import AnalyticModel
from metasched.cost.boosted_trees import BoostedTrees
from metasched.cost.model import AbstractCostModel, Features, Floats, Learning, Sample
from metasched.errors import UsageError
from metasched.search.records import Candidate, Known, Outcome, Result
from metasched.search.strategies import STRATEGIES, AbstractStrategy, StrategySettings
from metasched.search.strategies.evolutionary import Evolutionary, EvolutionOptions
from metasched.search.strategies.random_search import RandomSearch
from metasched.search.strategies.strategy import Context, Proposals
from metasched.search.tuner import Tuner, TunerOptions
from metasched.testing.fake_space import LAYOUT, FakeSpace, measure, seconds


def tuner_for(
    space: FakeSpace,
    strategy: AbstractStrategy | None = None,
    model: AbstractCostModel | None = None,
    seed: int = 0,
    known: tuple[Known, ...] = (),
) -> Tuner:
    strategy = strategy or Evolutionary(EvolutionOptions(population=128))
    return Tuner(space, model or BoostedTrees(LAYOUT), strategy, seed=seed, known=known)


def drive(tuner: Tuner, trials: int, batch: int = 8) -> list[Candidate]:
    """Ask and tell until ``trials`` candidates are measured or the search ends."""
    asked: list[Candidate] = []
    while len(asked) < trials:
        candidates = tuner.ask(min(batch, trials - len(asked)))
        if not candidates:
            break
        asked += candidates
        tuner.tell(measure(candidates))
    return asked


def identity(candidate: Candidate) -> tuple[object, ...]:
    return candidate.structure.key, *candidate.row.tolist()


def test_same_seed_and_results_give_same_proposals() -> None:
    runs = [drive(tuner_for(FakeSpace(), seed=3), 48) for _ in range(2)]
    assert [identity(c) for c in runs[0]] == [identity(c) for c in runs[1]]
    other = drive(tuner_for(FakeSpace(), seed=4), 48)
    assert [identity(c) for c in other] != [identity(c) for c in runs[0]]


def test_order_of_results_does_not_matter() -> None:
    def run(reverse: bool) -> list[tuple[object, ...]]:
        tuner = tuner_for(FakeSpace())
        first = tuner.ask(16)
        tuner.tell(measure(first)[:: -1 if reverse else 1])
        return [identity(c) for c in tuner.ask(16)]

    assert run(reverse=True) == run(reverse=False)


def test_finds_far_better_than_random_and_near_the_optimum() -> None:
    space = FakeSpace(extents=((256, 4), (128, 4), (64, 2)))
    optimum = space.best_s()

    def gap(strategy: Callable[[], AbstractStrategy]) -> float:
        found: list[float] = []
        for seed in range(2):
            drive(tuner := tuner_for(space, strategy(), seed=seed), 64)
            assert tuner.best is not None
            found.append(tuner.best[1])
        return float(np.median(found)) / optimum

    evolved = gap(lambda: Evolutionary(EvolutionOptions(population=128)))
    random = gap(RandomSearch)
    assert evolved < 1.2
    assert random > 1.3 * evolved


def test_never_proposes_twice_and_counts_what_is_in_flight() -> None:
    tuner = tuner_for(FakeSpace(extents=((16, 2), (16, 2))))
    held = tuner.ask(24)
    asked = [*held, *drive(tuner, 100)]
    assert tuner.in_flight == len(held)
    assert len({identity(c) for c in asked}) == len(asked)
    assert [c.id for c in asked] == list(range(len(asked)))


def test_candidates_carry_their_trace() -> None:
    space = FakeSpace()
    for candidate in tuner_for(space).ask(8):
        found = space.of_trace(candidate.trace)
        assert found is not None
        assert found[0] is candidate.structure
        assert (found[1] == candidate.row).all()


@pytest.mark.parametrize("name", ["evolutionary", "random", "exhaustive"])
def test_a_tiny_space_is_exhausted_and_ends_with_a_reason(name: str) -> None:
    space = FakeSpace(extents=((4, 2),), sketches=1, locations=2)
    tuner = tuner_for(space, STRATEGIES[name](StrategySettings(population=32)))
    asked = drive(tuner, 1000, batch=5)
    assert len({identity(c) for c in asked}) == len(asked)
    # random drawing may miss a last few; the others must not
    assert space.size() == 24
    assert len(asked) >= (20 if name == "random" else 24)
    assert f"{len(asked)} candidates are proposed" in tuner.end


@pytest.mark.parametrize("name", ["evolutionary", "random", "exhaustive"])
def test_without_a_valid_candidate_it_ends_with_reasons(name: str) -> None:
    space = FakeSpace(
        extents=((16, 2),),
        valid=lambda rows: np.zeros(len(rows), dtype=np.bool_),
        refused={"loop i has a dynamic extent": 7},
    )
    tuner = tuner_for(space, STRATEGIES[name](StrategySettings(population=64)))
    assert tuner.ask(4) == ()
    assert "is valid" in tuner.end
    assert "loop i has a dynamic extent (7 times)" in tuner.end


@pytest.mark.parametrize("name", ["evolutionary", "random", "exhaustive"])
def test_without_a_structure_it_ends_with_reasons(name: str) -> None:
    space = FakeSpace(sketches=0, refused={"block c is not in the program": 2})
    tuner = tuner_for(space, STRATEGIES[name](StrategySettings()))
    assert tuner.ask(4) == ()
    assert tuner.end == (
        "the space has no structure; structures refused: block c is not in the program (2 times)"
    )


def test_invalid_candidates_are_never_proposed() -> None:
    space = FakeSpace(valid=lambda rows: rows[:, 0] % 3 == 0)
    asked = drive(tuner_for(space), 48)
    assert len(asked) == 48
    assert all(c.row[0] % 3 == 0 for c in asked)


def test_a_space_of_rare_valid_candidates_is_searched() -> None:
    space = FakeSpace(valid=lambda rows: rows[:, 0] == 7)
    assert len(drive(tuner_for(space), 24)) == 24


def test_lost_candidates_come_back_once_and_duplicates_do_not() -> None:
    space = FakeSpace(extents=((4, 2),), sketches=1, locations=1)
    tuner = tuner_for(space, STRATEGIES["exhaustive"](StrategySettings()))
    first = tuner.ask(space.size())
    assert tuner.ask(1) == ()
    tuner.tell([Result(first[3].id, Outcome.LOST), Result(first[4].id, Outcome.DUPLICATE)])
    assert tuner.end == ""
    again = tuner.ask(9)
    assert [identity(c) for c in again] == [identity(first[3])]
    tuner.tell([Result(again[0].id, Outcome.LOST)])
    assert tuner.ask(9) == ()


def test_failures_teach_the_model_to_avoid_them() -> None:
    def failing(candidate: Candidate) -> bool:
        return bool(candidate.row[-1] == 2)

    tuner = tuner_for(FakeSpace())
    counts: list[int] = []
    for _ in range(8):
        candidates = tuner.ask(16)
        counts.append(sum(map(failing, candidates)))
        tuner.tell(
            [
                Result(c.id, Outcome.FAILED) if failing(c) else Result(c.id, Outcome.OK, seconds(c))
                for c in candidates
            ]
        )
    assert sum(counts[-3:]) < sum(counts[:3])
    assert sum(counts[-3:]) <= 6


def test_known_records_are_not_repeated_and_start_the_search() -> None:
    space = FakeSpace()
    asked = drive(tuner_for(space), 64)
    known = tuple(Known(c.trace, seconds(c)) for c in asked)
    tuner = tuner_for(space, seed=1, known=known)
    again = tuner.ask(16)
    assert not {identity(c) for c in again} & {identity(c) for c in asked}
    cold = tuner_for(space, seed=1).ask(16)
    assert np.median([seconds(c) for c in again]) < 0.7 * np.median([seconds(c) for c in cold])


def test_records_of_another_space_are_ignored() -> None:
    asked = drive(tuner_for(FakeSpace(sketches=4)), 16)
    known = tuple(Known(c.trace, None) for c in asked)
    assert len(tuner_for(FakeSpace(sketches=1), known=known).ask(4)) == 4


def test_predictions_approach_the_measured_seconds() -> None:
    tuner = tuner_for(FakeSpace())
    drive(tuner, 96)
    candidates = tuner.ask(16)
    errors = [c.predicted_log_s - np.log(seconds(c)) for c in candidates]
    assert np.median(np.abs(errors)) < 0.2


def test_accuracy_of_unseen_results_is_reported() -> None:
    tuner = tuner_for(FakeSpace(), RandomSearch())
    asked = drive(tuner, 160, batch=16)
    tuner.ask(1)
    # the last results wait until there are enough of them
    assert len(asked) - 32 < sum(card.count for card in tuner.accuracy) <= len(asked)
    assert np.median([card.spearman for card in tuner.accuracy[-4:]]) > 0.7


def test_one_batch_is_diverse() -> None:
    tuner = tuner_for(FakeSpace(), model=AnalyticModel(LAYOUT))
    first = tuner.ask(16)
    assert len({c.structure.key for c in first}) >= 3
    assert len({tuple(c.row[:-1].tolist()) for c in first}) >= 14
    assert {c.origin for c in first} == {"best", "explore"}


def test_wrong_tells_are_refused_and_change_nothing() -> None:
    tuner = tuner_for(FakeSpace())
    (one,) = tuner.ask(1)
    ok = Result(one.id, Outcome.OK, 1e-3)
    for results, message in [
        ([Result(99, Outcome.FAILED)], "candidate 99 is not in flight"),
        ([ok, ok], "candidate 0 is not in flight"),
        ([Result(one.id, Outcome.OK)], "expected seconds above zero exactly when it is ok"),
        ([Result(one.id, Outcome.OK, 0.0)], "is ok with time 0.0"),
        ([Result(one.id, Outcome.FAILED, 1.0)], "is failed with time 1.0"),
    ]:
        with pytest.raises(UsageError, match=message):
            tuner.tell(results)
    tuner.tell([ok])
    assert tuner.best == (one, 1e-3)
    with pytest.raises(UsageError, match="asked for 0 candidates"):
        tuner.ask(0)


def test_a_silent_strategy_cannot_hang_the_search() -> None:
    class Silent(AbstractStrategy):
        def propose(self, context: Context, count: int) -> Proposals:
            return Proposals(())

    tuner = tuner_for(FakeSpace(), Silent())
    assert tuner.ask(4) == ()
    assert tuner.end == "the strategy proposed nothing 8 times in a row"


class _Noting(AbstractCostModel):
    """The analytic prior, noting when training begins and when it is taken over."""

    def __init__(self) -> None:
        self._inner = AnalyticModel(LAYOUT)
        self.events: list[str] = []

    def predict(self, features: Features, prior_s: Floats) -> Floats:
        return self._inner.predict(features, prior_s)

    def update(self, results: Sequence[Sample]) -> Accuracy | None:
        self.events.append(f"take over {len(results)}")
        return None

    def begin(self, results: Sequence[Sample]) -> Learning:
        self.events.append(f"begin {len(results)}")
        return super().begin(results)

    def save(self, stored: str | None = None) -> str:
        return self._inner.save(stored)

    def load(self, text: str) -> None:
        self._inner.load(text)


def test_training_in_the_background_is_taken_over_one_ask_later() -> None:
    model = _Noting()
    tuner = tuner_for(FakeSpace(), model=model)
    tuner.background = True
    tuner.tell(measure(tuner.ask(16)))
    assert model.events == []
    tuner.tell(measure(tuner.ask(4)))
    assert model.events == ["begin 16"]
    tuner.ask(4)
    assert model.events == ["begin 16", "take over 16"]
    tuner.learn_rest()
    assert model.events[2:] == ["begin 4", "take over 4"]


def test_training_in_the_background_repeats_bit_for_bit() -> None:
    def run() -> list[tuple[object, ...]]:
        tuner = tuner_for(FakeSpace())
        tuner.background = True
        return [identity(c) for c in drive(tuner, 64)]

    assert run() == run()


def test_who_asks_for_many_trains_no_more_often_than_asking() -> None:
    model = _Noting()
    tuner = tuner_for(FakeSpace(), model=model)
    for _ in range(6):
        tuner.tell(measure(tuner.ask(40)))
    assert model.events[0] == "begin 40"
    assert all(int(event.split()[-1]) >= 40 for event in model.events)


def test_a_search_without_hope_of_gain_ends_before_its_budget() -> None:
    space = FakeSpace(extents=((256, 4), (128, 4), (64, 2)))

    def run(stop_below: float) -> tuple[int, str]:
        strategy = Evolutionary(EvolutionOptions(population=128))
        tuner = Tuner(
            space, BoostedTrees(LAYOUT), strategy, seed=0,
            options=TunerOptions(stop_below=stop_below),
        )  # fmt: skip
        return len(drive(tuner, 160)), tuner.end

    assert run(0.0) == (160, "")
    trials, end = run(0.2)
    assert 32 <= trials < 160
    assert "no candidate promises a gain of 20.00% any more, the best" in end
