"""The interface to builders and runners, wherever they are.

`local` implements it with processes of this machine; other packages do with clusters.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from metasched.measure.records import AnyResult, AnyRun, BuildRequest


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many requests of each kind are served at the same time.

    Keep about twice as many submitted, so that no worker is ever idle for want of work.
    """

    builders: int
    runners: int


class AbstractWorkers(ABC):
    """Builders and runners behind one asynchronous interface.

    Lifecycle: the tuner opens one for a job, submits requests as it proposes candidates, polls
    for results in whatever order they come, and closes it, also after an error or Ctrl-C; use it
    as a context manager. All methods are called from one thread of the parent. Work goes on
    between calls. A candidate that crashes, hangs or is lost is a result with a status, never
    an exception; the parent never loads a candidate's code.

    An artefact that a builder returns is valid for the runners of the same workers until they
    are closed.
    """

    @property
    @abstractmethod
    def capacity(self) -> Capacity:
        """How many builds and runs proceed at the same time."""

    def runners_of(self, target: str) -> int:
        """How many runners measure for a target, given its key; all of them by default."""
        return self.capacity.runners

    @property
    def shares_cores(self) -> bool:
        """Whether measurements run on the cores of the calling process.

        The caller then does no heavy work while a run is under way, since it would be measured.
        """
        return False

    def now(self) -> float:
        """Seconds on the clock by which work proceeds, from any beginning; budgets count by it."""
        return time.perf_counter()

    @abstractmethod
    def submit_build(self, request: BuildRequest) -> None:
        """Queue a build and return at once.

        Raises:
            MeasureError: the workers are closed or cannot be started.
        """

    @abstractmethod
    def submit_run(self, request: AnyRun) -> None:
        """Queue a run or a comparison and return at once.

        Raises:
            MeasureError: the workers are closed or cannot be started.
        """

    @abstractmethod
    def poll(self, timeout_s: float = 0.0) -> Sequence[AnyResult]:
        """Return the results that are there, waiting so long for the first.

        Returns nothing at once when no request is under way.

        Raises:
            MeasureError: the workers are closed or cannot be started.
        """

    def describe(self) -> str:
        """Say in a line how the workers are doing, for displays; empty where nothing is to say."""
        return ""

    def wake(self) -> None:
        """Make `poll`, now or the next time, return early; may be called from any thread.

        Workers that cannot do so do nothing: `poll` then returns when its time is over.
        """
        return

    @abstractmethod
    def close(self) -> None:
        """End all workers at once and remove their files; may be called again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
