"""Share a budget between several programs: which one gets the next batch of measurements.

The gradient scheduler is that of Ansor and MetaSchedule: it spends where the weighted total time is
expected to fall most. It knows times only; it neither asks nor measures.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias, final

from metasched.errors import UsageError
from metasched.registry import Registry


class AbstractTaskScheduler(ABC):
    """Picks programs by number.

    Lifecycle: `next` names the task to serve, `report` tells the best time it has reached after
    each batch, `finish` takes out a task that can gain no more. Several batches may be out at once,
    of one task or of many. It is deterministic.

    Args:
        weights: How often each program runs in the whole; one above zero per task.

    Raises:
        UsageError: There is no task, or a weight is not above zero.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        if not weights or not all(0.0 < weight < math.inf for weight in weights):
            raise UsageError(f"weights are {list(weights)}; expected one above zero per task")
        self.weights = tuple(weights)
        self._history: list[list[float]] = [[] for _ in weights]
        self._given = [0] * len(weights)
        self._finished: set[int] = set()

    def next(self, among: Collection[int] | None = None) -> int | None:
        """The task that gets the next batch; None when all are finished.

        Args:
            among: The tasks that can be served now; all of them when None.
        """
        tasks = range(len(self.weights)) if among is None else sorted(among)
        open_tasks = [task for task in tasks if task not in self._finished]
        if not open_tasks:
            return None
        # Every task needs a first batch before anything can be compared.
        new = [task for task in open_tasks if not self._given[task]]
        task = new[0] if new else self._choose(open_tasks)
        self._given[task] += 1
        return task

    def report(self, task: int, best_s: float | None) -> None:
        """The best seconds of a task after one more batch, None while nothing has run."""
        self._history[task].append(math.inf if best_s is None else best_s)

    def finish(self, task: int) -> None:
        """Take a task out."""
        self._finished.add(task)

    @abstractmethod
    def _choose(self, tasks: list[int]) -> int:
        """One of the tasks, each of which was served before."""


SchedulerFactory: TypeAlias = Callable[[Sequence[float]], AbstractTaskScheduler]
TASK_SCHEDULERS = Registry[SchedulerFactory]("task scheduler")


@final
class RoundRobin(AbstractTaskScheduler):
    """Each task in turn.

    >>> tasks = RoundRobin([1.0, 5.0])
    >>> [tasks.next() for _ in range(3)]
    [0, 1, 0]
    """

    def _choose(self, tasks: list[int]) -> int:
        return min(tasks, key=lambda task: (self._given[task], task))


@final
class GradientScheduler(AbstractTaskScheduler):
    """The task with the largest expected gain per batch.

    Args:
        weights: How often each program runs in the whole.
        alpha: Trust in the recent gain; the rest goes to the hope that a task's time keeps falling
            in proportion to the batches it got.
        window: Batches over which the recent gain is averaged.
    """

    def __init__(self, weights: Sequence[float], alpha: float = 0.2, window: int = 3) -> None:
        super().__init__(weights)
        if not 0.0 <= alpha <= 1.0 or window < 1:
            raise UsageError(
                f"alpha is {alpha} and window {window}; expected 0 to 1 and at least 1 batch"
            )
        self._alpha = alpha
        self._window = window

    def _choose(self, tasks: list[int]) -> int:
        return max(tasks, key=lambda task: (self._gain(task), -self._given[task], -task))

    def _gain(self, task: int) -> float:
        """Expected fall of the weighted seconds with one more batch."""
        history = self._history[task]
        expected = expected_gain(history, max(self._given[task], 1), self._alpha, self._window)
        return self.weights[task] * expected


def expected_gain(history: Sequence[float], batches: int, alpha: float, window: int) -> float:
    """Seconds by which the best time should fall with one more batch.

    Args:
        history: Best seconds after each batch, infinite while nothing has run.
        batches: Batches given, those still out included.
        alpha: Weight of the recent gain.
        window: Batches over which it is averaged.

    >>> expected_gain([8.0, 6.0], batches=2, alpha=0.5, window=3)
    2.5
    """
    timed = [best for best in history if best < math.inf]
    if not timed:
        return math.inf if len(history) < window else 0.0
    span = min(len(timed) - 1, window)
    recent = (timed[-1 - span] - timed[-1]) / span if span else 0.0
    return alpha * recent + (1.0 - alpha) * timed[-1] / batches


TASK_SCHEDULERS.register("gradient", GradientScheduler)
TASK_SCHEDULERS.register("round_robin", RoundRobin)
