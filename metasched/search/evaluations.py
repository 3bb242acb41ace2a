"""Evaluations of candidates met before, since a population meets many of them again."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from metasched.search.population import Book, Population
from metasched.search.problem import AbstractEvaluation, Bools, Floats, Ints

_MOST = 16384
"""Candidates remembered in all: about 10 MB for each store of the program."""


@final
class Evaluations:
    """Evaluates candidates by structure, each distinct one once.

    Features do not change with the model, and in small spaces most children are old acquaintances.
    Structures that were not asked for longest are forgotten first.
    """

    def __init__(self, book: Book, most: int = _MOST) -> None:
        self._book = book
        self._most = most
        self._known: dict[int, _Known] = {}

    def __call__(self, number: int, rows: Ints) -> AbstractEvaluation:
        """What the structure says of ``rows``, ``(n, sites)``."""
        if not len(rows):
            return self._book[number].evaluate(rows)
        owner = np.full(len(rows), number)
        codes = Population(owner, rows, np.zeros(len(rows))).codes()
        unique, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
        known = self._known.pop(number, None)
        new = np.ones(len(unique), np.bool_) if known is None else ~np.isin(unique, known.codes)
        if new.any():
            found = self._book[number].evaluate(rows[first[new]])
            fresh = _Known(unique[new], found.features, found.prior_s, found.valid)
            known = fresh if known is None else known.joined(fresh)
        assert known is not None
        self._known[number] = known
        self._forget()
        return known.take(unique, inverse)

    def _forget(self) -> None:
        while len(self._known) > 1 and sum(map(len, self._known.values())) > self._most:
            self._known.pop(next(iter(self._known)))


@final
class _Known:
    """Evaluations of one structure, in ascending order of the candidates' codes."""

    def __init__(
        self,
        codes: NDArray[np.uint64],
        features: NDArray[np.float32],
        prior_s: Floats,
        valid: Bools,
    ) -> None:
        self.codes, self.features, self.prior_s, self.valid = codes, features, prior_s, valid

    def __len__(self) -> int:
        return len(self.codes)

    def joined(self, other: _Known) -> _Known:
        codes = np.concatenate([self.codes, other.codes])
        order = np.argsort(codes)
        return _Known(
            codes[order],
            np.concatenate([self.features, other.features])[order],
            np.concatenate([self.prior_s, other.prior_s])[order],
            np.concatenate([self.valid, other.valid])[order],
        )

    def take(self, codes: NDArray[np.uint64], inverse: Ints) -> _Known:
        at = np.searchsorted(self.codes, codes)[inverse]
        return _Known(self.codes[at], self.features[at], self.prior_s[at], self.valid[at])
