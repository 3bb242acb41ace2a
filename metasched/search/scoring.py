"""Scores of whole populations: features of each structure at once, then the cost model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from metasched.cost.model import AbstractCostModel, Sample
from metasched.search.evaluations import Evaluations
from metasched.search.history import Measured
from metasched.search.population import Book, Population
from metasched.search.problem import Floats, Ints


@final
class Scorer:
    """Predicts candidates and counts how many were valid.

    Attributes:
        scored: How many candidates were scored.
        invalid: How many of them were not valid.
    """

    def __init__(self, book: Book, model: AbstractCostModel) -> None:
        self.book = book
        self.model = model
        self._evaluations = Evaluations(book)
        self.scored = 0
        self.invalid = 0

    def score(self, owner: Ints, rows: Ints) -> Population:
        """A population with its predicted log-seconds, infinite for candidates that are not valid.

        Args:
            owner: ``(n,)`` structure numbers.
            rows: ``(n, w)`` decisions.
        """
        population = Population(owner, rows, np.full(len(owner), np.inf))
        for number, index in population.groups():
            population.scores[index] = self._one(number, rows[index])
        return population

    def uncertainty(self, population: Population) -> Floats:
        """Standard deviations of the scores of valid candidates, ``(n,)``."""
        unsure = np.zeros(len(population))
        for number, index in population.groups():
            rows = population.rows[index, : len(self.book[number].tables)]
            seen = self._evaluations(number, np.ascontiguousarray(rows))
            unsure[index] = self.model.uncertainty(seen.features, seen.prior_s)
        return unsure

    def _one(self, number: int, rows: Ints) -> Floats:
        structure = self.book[number]
        seen = self._evaluations(number, np.ascontiguousarray(rows[:, : len(structure.tables)]))
        valid = seen.valid
        self.scored += len(rows)
        self.invalid += len(rows) - int(valid.sum())
        scores = np.full(len(rows), np.inf)
        if valid.all():
            return self.model.predict(seen.features, seen.prior_s)
        if valid.any():
            scores[valid] = self.model.predict(seen.features[valid], seen.prior_s[valid])
        return scores


def training_samples(book: Book, measured: Sequence[Measured], task: str) -> list[Sample]:
    """Training samples of measured candidates, in their order; each structure is evaluated once."""
    found: dict[int, Sample] = {}
    by_owner: dict[int, list[int]] = {}
    for i, item in enumerate(measured):
        by_owner.setdefault(item.owner, []).append(i)
    for number, index in by_owner.items():
        seen = book[number].evaluate(np.stack([measured[i].row for i in index]))
        for k, i in enumerate(index):
            found[i] = Sample(task, seen.features[k], seen.prior_s[k], measured[i].time_s)
    return [found[i] for i in range(len(measured))]
