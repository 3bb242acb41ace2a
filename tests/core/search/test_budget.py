"""Task schedulers: everybody starts, gains decide, finished tasks are left out."""

from __future__ import annotations

import pytest

from metasched.errors import UsageError
from metasched.search.budget import (
    TASK_SCHEDULERS,
    AbstractTaskScheduler,
    GradientScheduler,
    RoundRobin,
    expected_gain,
)


def serve(scheduler: AbstractTaskScheduler, times: list[list[float]], batches: int) -> list[int]:
    """How many batches each task gets when its n-th batch reaches ``times[task][n]``."""
    counts = [0] * len(times)
    for _ in range(batches):
        task = scheduler.next()
        assert task is not None
        curve = times[task]
        scheduler.report(task, curve[min(counts[task], len(curve) - 1)])
        counts[task] += 1
    return counts


@pytest.mark.parametrize("name", ["gradient", "round_robin"])
def test_every_task_is_served_first(name: str) -> None:
    scheduler = TASK_SCHEDULERS[name]([1.0, 1e-9, 3.0])
    assert [scheduler.next() for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("name", ["gradient", "round_robin"])
def test_finished_tasks_get_nothing_and_all_finished_ends(name: str) -> None:
    scheduler = TASK_SCHEDULERS[name]([1.0, 1.0])
    scheduler.finish(0)
    assert [scheduler.next() for _ in range(3)] == [1, 1, 1]
    scheduler.finish(1)
    assert scheduler.next() is None


def test_round_robin_is_even() -> None:
    assert serve(RoundRobin([1.0, 9.0]), [[1.0], [5.0]], 10) == [5, 5]


def test_gradient_favours_the_heavy_and_the_improving() -> None:
    flat, falling = [1.0], [1.0 * 0.9**n for n in range(40)]
    heavy = serve(GradientScheduler([8.0, 1.0]), [flat, flat], 45)
    assert heavy == [40, 5]
    improving = serve(GradientScheduler([1.0, 1.0], alpha=0.9), [flat, falling], 20)
    assert improving[1] > improving[0]


def test_batches_in_flight_count_so_that_one_task_does_not_take_all() -> None:
    scheduler = GradientScheduler([1.0, 1.0])
    for task in (0, 1):
        assert scheduler.next() == task
        scheduler.report(task, 1.0)
    assert sorted(scheduler.next() or 0 for _ in range(6)) == [0, 0, 0, 1, 1, 1]


def test_a_task_that_never_runs_is_tried_and_then_left() -> None:
    assert expected_gain([float("inf")], 1, 0.2, 3) == float("inf")
    scheduler = GradientScheduler([1.0, 1.0])
    counts = [0, 0]
    for _ in range(20):
        task = scheduler.next()
        assert task is not None
        counts[task] += 1
        scheduler.report(task, None if task == 0 else 1.0)
    assert counts == [3, 17]


def test_expected_gain_by_hand() -> None:
    # recent: (10 - 4) / 3, hope: 4 / 5
    assert expected_gain([16, 10, 8, 6, 4], 5, 0.2, 3) == pytest.approx(0.2 * 2 + 0.8 * 0.8)


@pytest.mark.parametrize("weights", [[], [1.0, 0.0], [float("nan")], [float("inf")]])
def test_bad_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(UsageError, match="expected one above zero per task"):
        RoundRobin(weights)


def test_bad_options_are_refused() -> None:
    with pytest.raises(UsageError, match="expected 0 to 1 and at least 1 batch"):
        GradientScheduler([1.0], alpha=2.0)
