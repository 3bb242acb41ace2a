"""Populations: many candidates of several structures as a few flat arrays.

`Book` numbers the structures, so that a candidate is a structure number and a row of integers; rows
of structures with fewer sites are padded with zeros. Everything here is vectorised: no Python per
candidate. Read `scoring` next.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from metasched.search.problem import AbstractStructure, Bools, Floats, Ints


@final
class Book:
    """The structures met so far, numbered in the order they came.

    >>> len(Book())
    0
    """

    def __init__(self) -> None:
        self._structures: list[AbstractStructure] = []
        self._numbers: dict[Hashable, int] = {}

    def number(self, structure: AbstractStructure) -> int:
        """The number of a structure; a new one is added."""
        found = self._numbers.setdefault(structure.key, len(self._structures))
        if found == len(self._structures):
            self._structures.append(structure)
        return found

    def __getitem__(self, number: int) -> AbstractStructure:
        return self._structures[number]

    def __len__(self) -> int:
        return len(self._structures)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """``n`` candidates.

    Attributes:
        owner: ``(n,)`` number of the structure in the book.
        rows: ``(n, w)`` decisions, zeros beyond the sites of the structure.
        scores: ``(n,)`` predicted log-seconds; infinite where the candidate is not valid.
    """

    owner: Ints
    rows: Ints
    scores: Floats

    def __len__(self) -> int:
        return len(self.owner)

    def take(self, index: Ints | Bools) -> Population:
        """The candidates at ``index``, a mask or an array of positions."""
        return Population(self.owner[index], self.rows[index], self.scores[index])

    def groups(self) -> Iterator[tuple[int, Ints]]:
        """Each structure number with the positions of its candidates."""
        for number in np.unique(self.owner):
            yield int(number), np.flatnonzero(self.owner == number)

    def codes(self) -> NDArray[np.uint64]:
        """A 64-bit hash per candidate, the same in every population of one book."""
        mixed = self.rows.astype(np.uint64) * _multipliers(self.rows.shape[1])
        return mixed.sum(axis=1) + (self.owner.astype(np.uint64) + np.uint64(1)) * _OWNER

    def unique(self) -> Population:
        """Without repeated candidates; the first of each stays."""
        _, first = np.unique(self.codes(), return_index=True)
        return self.take(np.sort(first))

    def valid(self) -> Population:
        """Without candidates that are not valid."""
        return self.take(np.isfinite(self.scores))


EMPTY = Population(np.zeros(0, np.int64), np.zeros((0, 0), np.int64), np.zeros(0))


def join(parts: Sequence[Population]) -> Population:
    """Several populations of one book as one."""
    if not parts:
        return EMPTY
    width = max(part.rows.shape[1] for part in parts)
    return Population(
        np.concatenate([part.owner for part in parts]),
        np.concatenate([padded(part.rows, width) for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )


def padded(rows: Ints, width: int) -> Ints:
    """``rows`` with zero columns up to ``width``."""
    missing = width - rows.shape[1]
    return rows if missing <= 0 else np.pad(rows, ((0, 0), (0, missing)))


def space_size(structure: AbstractStructure) -> int:
    """How many candidates a structure holds, valid or not."""
    return prod(len(table) for table in structure.tables)


def sample_rows(structure: AbstractStructure, count: int, rng: np.random.Generator) -> Ints:
    """Draw ``(count, sites)`` decisions from the sites' distributions."""
    rows = np.empty((count, len(structure.tables)), dtype=np.int64)
    for column, (table, probs) in enumerate(zip(structure.tables, structure.probs, strict=True)):
        if probs is None:
            rows[:, column] = rng.integers(len(table), size=count)
        else:
            rows[:, column] = rng.choice(len(table), size=count, p=probs)
    return rows


def all_rows(structure: AbstractStructure) -> Ints:
    """Every candidate of a structure, ``(space_size, sites)``; for small spaces only."""
    counts = [len(table) for table in structure.tables]
    return np.indices(counts, dtype=np.int64).reshape(len(counts), prod(counts)).T


def transfer(
    source: AbstractStructure, rows: Ints, target: AbstractStructure, rng: np.random.Generator
) -> Ints:
    """Carry decisions over to another structure.

    The k-th site with some table keeps the decision of the k-th site with an equal table; sites
    without a counterpart are drawn.
    """
    result = sample_rows(target, len(rows), rng)
    free = list(range(len(source.tables)))
    for column, table in enumerate(target.tables):
        match = next((c for c in free if _same_table(source.tables[c], table)), None)
        if match is not None:
            free.remove(match)
            result[:, column] = rows[:, match]
    return result


def _same_table(a: Ints, b: Ints) -> bool:
    return a is b or (a.shape == b.shape and bool((a == b).all()))


_OWNER = np.uint64(0x9E3779B97F4A7C15)


@lru_cache(maxsize=64)
def _multipliers(width: int) -> NDArray[Any]:
    """Fixed odd 64-bit multipliers; those of a narrower matrix are a prefix."""
    mixed = np.arange(1, width + 1, dtype=np.uint64) * np.uint64(0xD1B54A32D192ED03)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return (mixed ^ (mixed >> np.uint64(31))) | np.uint64(1)
