from __future__ import annotations

import pytest

from metasched.errors import ScheduleError
from metasched.schedule.schedule import Schedule
from tests.core.schedule.programs import check, matmul


def test_draws_by_its_probabilities() -> None:
    sch = Schedule(matmul(), seed=0)
    drawn = [sch.int_of(sch.sample_categorical([1, 2, 3], [0.0, 0.25, 0.75])) for _ in range(400)]
    assert 1 not in drawn
    assert 60 < drawn.count(2) < 140


def test_takes_the_index_given() -> None:
    sch = Schedule(matmul())
    assert sch.int_of(sch.sample_categorical([5, 7], [0.5, 0.5], decision=1)) == 7


def test_a_drawn_factor_replays() -> None:
    sch = Schedule(matmul(), seed=2)
    loop = sch.get_loops(sch.get_block("c"))[0]
    sch.split(loop, [None, sch.sample_categorical([2, 3], [0.5, 0.5])])
    check(sch)


def test_may_stay_symbolic() -> None:
    class Undecided:
        def choose(self, index: int, site: object) -> None:
            return None

    sch = Schedule(matmul(), choices=Undecided())
    value = sch.get(sch.sample_categorical([5, 7], [0.5, 0.5]))
    assert str(value) == "t0_0"


@pytest.mark.parametrize(("candidates", "probs"), [([], []), ([1, 2], [1.0])])
def test_requires_one_probability_for_each_of_one_or_more_candidates(
    candidates: list[int], probs: list[float]
) -> None:
    with pytest.raises(ScheduleError, match="expected one probability for each of one or more"):
        Schedule(matmul()).sample_categorical(candidates, probs)


@pytest.mark.parametrize("probs", [[0.5, 0.6], [-0.5, 1.5]])
def test_requires_probabilities_that_sum_to_1(probs: list[float]) -> None:
    with pytest.raises(ScheduleError, match="expected probabilities that sum to 1, got"):
        Schedule(matmul()).sample_categorical([1, 2], probs)


def test_requires_a_decision_that_is_legal_here() -> None:
    sch = Schedule(matmul())
    with pytest.raises(ScheduleError, match="decision that is legal here, got 2 for Categorical"):
        sch.sample_categorical([5, 7], [0.5, 0.5], decision=2)
