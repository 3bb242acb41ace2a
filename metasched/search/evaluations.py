"""Evaluations of candidates met before, since a population meets many of them again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, final

import numpy as np
from numpy.typing import NDArray

from metasched.search.population import Book, Population
from metasched.search.problem import AbstractEvaluation, Bools, Floats, Ints

_T = TypeVar("_T", bound=np.generic)

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
        new = np.ones(len(unique), np.bool_) if known is None else ~known.holds(unique)
        if new.any():
            found = self._book[number].evaluate(rows[first[new]])
            if known is None:
                known = _Known(unique, found)
            else:
                known.add(unique[new], found)
        assert known is not None
        self._known[number] = known
        self._forget()
        return known.take(unique, inverse)

    def _forget(self) -> None:
        while len(self._known) > 1 and sum(map(len, self._known.values())) > self._most:
            self._known.pop(next(iter(self._known)))


@dataclass(frozen=True, slots=True, eq=False)
class _Taken:
    features: NDArray[np.float32]
    prior_s: Floats
    valid: Bools


@final
class _Known:
    """Evaluations of one structure in arrays that double when they are full."""

    def __init__(self, codes: NDArray[np.uint64], found: AbstractEvaluation) -> None:
        self._codes = codes  # ascending
        self._at = np.arange(len(codes))  # where each of them is in the arrays below
        self._features, self._prior_s, self._valid = found.features, found.prior_s, found.valid

    def __len__(self) -> int:
        return len(self._codes)

    def holds(self, codes: NDArray[np.uint64]) -> Bools:
        """Which of ascending codes are known."""
        place = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        return self._codes[place] == codes

    def add(self, codes: NDArray[np.uint64], found: AbstractEvaluation) -> None:
        """Take in evaluations of codes that are not known yet."""
        begin, end = len(self), len(self) + len(codes)
        self._features = _stored(self._features, found.features, begin)
        self._prior_s = _stored(self._prior_s, found.prior_s, begin)
        self._valid = _stored(self._valid, found.valid, begin)
        joined = np.concatenate([self._codes, codes])
        order = np.argsort(joined, kind="stable")
        self._codes = joined[order]
        self._at = np.concatenate([self._at, np.arange(begin, end)])[order]

    def take(self, codes: NDArray[np.uint64], inverse: Ints) -> _Taken:
        """Evaluations of known codes, one for each entry of ``inverse``."""
        at = self._at[np.searchsorted(self._codes, codes)][inverse]
        return _Taken(self._features[at], self._prior_s[at], self._valid[at])


def _stored(room: NDArray[_T], new: NDArray[_T], begin: int) -> NDArray[_T]:
    """``room`` with ``new`` from ``begin`` on, moved to larger room when it does not fit."""
    end = begin + len(new)
    if end > len(room):
        larger = np.empty((max(end, 2 * len(room)), *room.shape[1:]), room.dtype)
        larger[:begin] = room[:begin]
        room = larger
    room[begin:end] = new
    return room
