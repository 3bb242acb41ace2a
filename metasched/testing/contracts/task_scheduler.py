"""What every task scheduler promises, see `metasched.search.budget.AbstractTaskScheduler`."""

from __future__ import annotations

import pytest

from metasched.errors import UsageError
from metasched.search.budget import AbstractTaskScheduler, SchedulerFactory


class TaskSchedulerContract:
    """Override ``make``."""

    @pytest.fixture
    def make(self) -> SchedulerFactory:
        """Return what makes a scheduler of weights."""
        raise NotImplementedError("override the fixture `make`")

    def test_every_task_is_served_first(self, make: SchedulerFactory) -> None:
        """Nothing can be compared before each task had a batch."""
        scheduler = make([1.0, 5.0, 0.1])
        assert sorted(_serve(scheduler, 3)) == [0, 1, 2]

    def test_a_finished_task_is_not_served_again(self, make: SchedulerFactory) -> None:
        """And none is once all are finished."""
        scheduler = make([1.0, 2.0])
        _serve(scheduler, 4)
        scheduler.finish(1)
        assert set(_serve(scheduler, 4)) == {0}
        scheduler.finish(0)
        assert scheduler.next() is None

    def test_tasks_without_a_time_are_no_failure(self, make: SchedulerFactory) -> None:
        """A program may not have run yet, or never run."""
        scheduler = make([1.0, 1.0])
        for _ in range(12):
            task = scheduler.next()
            assert task is not None
            scheduler.report(task, None)

    def test_it_is_deterministic(self, make: SchedulerFactory) -> None:
        """Equal reports lead to equal choices."""
        first, second = (_serve(make([1.0, 3.0, 2.0]), 20) for _ in range(2))
        assert first == second

    def test_wrong_weights_are_refused(self, make: SchedulerFactory) -> None:
        """One above zero for each task."""
        for weights in ([], [1.0, 0.0], [-1.0], [float("inf")]):
            with pytest.raises(UsageError, match="expected one above zero per task"):
                make(weights)


def _serve(scheduler: AbstractTaskScheduler, batches: int) -> list[int]:
    """Batches that bring each task's time down, less and less."""
    served: list[int] = []
    for _ in range(batches):
        task = scheduler.next()
        if task is None:
            break
        served.append(task)
        scheduler.report(task, 1.0 / (1 + served.count(task)))
    return served
