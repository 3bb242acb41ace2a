"""What was proposed and measured so far: the dedupe set, the best, and the training samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from metasched.search.population import Book, Population, join, padded
from metasched.search.problem import Bools, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A measured candidate: structure number, row, and seconds (None when it failed)."""

    owner: int
    row: Ints
    time_s: float | None

    @property
    def log_s(self) -> float:
        """Log-seconds, infinite when it failed."""
        return math.inf if self.time_s is None else math.log(self.time_s)


@final
class History:
    """Candidates that are measured or in flight, within one book."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.measured: list[Measured] = []
        self._log_s: list[float] = []  # of what is measured, as far as it was asked for
        self._seen: set[int] = set()
        self._sorted: NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return len(self._seen)

    def mark(self, owner: int, row: Ints) -> bool:
        """Note that a candidate is proposed; False if it was before."""
        code = _code(owner, row)
        if code in self._seen:
            return False
        self._seen.add(code)
        self._sorted = None
        return True

    def release(self, owner: int, row: Ints) -> None:
        """Forget that a candidate was proposed."""
        self._seen.discard(_code(owner, row))
        self._sorted = None

    def add(self, owner: int, row: Ints, time_s: float | None) -> None:
        """Keep a measurement; the candidate counts as proposed."""
        self.mark(owner, row)
        self.measured.append(Measured(owner, row, time_s))

    def is_seen(self, population: Population) -> Bools:
        """Which candidates were proposed before, ``(n,)``."""
        if self._sorted is None:
            self._sorted = np.sort(np.fromiter(self._seen, np.uint64, len(self._seen)))
        return np.isin(population.codes(), self._sorted)

    def best(self, count: int) -> Population:
        """The fastest measured candidates, best first, with measured log-seconds as scores."""
        log_s = self._log_s
        for item in self.measured[len(log_s) :]:
            log_s.append(item.log_s)
        ranked = np.argsort(np.array(log_s), kind="stable")[:count]
        return join([_single(self.measured[int(i)]) for i in ranked if log_s[i] < math.inf])


def _single(measured: Measured) -> Population:
    row = measured.row[None, :]
    return Population(np.array([measured.owner]), row, np.array([measured.log_s]))


def _code(owner: int, row: Ints) -> int:
    population = Population(np.array([owner]), padded(row[None, :], 1), np.zeros(1))
    return int(population.codes()[0])
