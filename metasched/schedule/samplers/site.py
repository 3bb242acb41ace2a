"""Sampling sites: the distribution at one point of a trace, apart from how a choice is made.

A site can be sampled, enumerated and asked whether a decision is legal, so mutators and strategies
need no knowledge of the primitive that made it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Protocol, final

import numpy as np

from metasched.errors import TraceError
from metasched.trace.instruction import Decision


class AbstractSite(Protocol):
    """What a sampling instruction offers at one point of one program."""

    def sample(self, rng: np.random.Generator) -> Decision:
        """Draw a decision from the site's distribution."""
        ...

    def contains(self, decision: Decision) -> bool:
        """Whether a decision is legal here."""
        ...

    def decisions(self) -> Iterator[Decision]:
        """Every legal decision, in a fixed order."""
        ...

    def size(self) -> int:
        """How many decisions are legal."""
        ...


@final
@dataclass(frozen=True, slots=True)
class PerfectTile:
    """Ways to write ``extent`` as an ordered product of ``n`` factors; uniform over them.

    The innermost factor is at most ``max_innermost``.
    """

    extent: int
    n: int
    max_innermost: int

    def sample(self, rng: np.random.Generator) -> tuple[int, ...]:
        """Draw one factorisation uniformly."""
        table = factorisations(self.extent, self.n, self.max_innermost)
        return tuple(int(f) for f in table[int(rng.integers(len(table)))])

    def contains(self, decision: Decision) -> bool:
        """Whether the factors multiply to the extent within the limits."""
        return (
            isinstance(decision, tuple)
            and len(decision) == self.n
            and prod(decision) == self.extent
            and min(decision) >= 1
            and (self.n == 1 or decision[-1] <= max(self.max_innermost, 1))
        )

    def decisions(self) -> Iterator[tuple[int, ...]]:
        """Every factorisation."""
        for row in factorisations(self.extent, self.n, self.max_innermost):
            yield tuple(int(f) for f in row)

    def size(self) -> int:
        """The number of factorisations."""
        return len(factorisations(self.extent, self.n, self.max_innermost))


@final
@dataclass(frozen=True, slots=True)
class PartitionedTile:
    """Like `PerfectTile`, with the product of the last factors a multiple of ``innerpart_factor``.

    ``partition_pos`` is the number of outer factors; those after it form the inner part.
    """

    extent: int
    n: int
    partition_pos: int
    innerpart_factor: int

    def _table(self) -> np.ndarray:
        table = factorisations(self.extent, self.n, self.extent)
        inner = table[:, self.partition_pos :].prod(axis=1)
        return table[inner % self.innerpart_factor == 0]

    def sample(self, rng: np.random.Generator) -> tuple[int, ...]:
        """Draw one factorisation uniformly."""
        table = self._table()
        return tuple(int(f) for f in table[int(rng.integers(len(table)))])

    def contains(self, decision: Decision) -> bool:
        """Whether the factors multiply to the extent and respect the partition."""
        return (
            isinstance(decision, tuple)
            and len(decision) == self.n
            and prod(decision) == self.extent
            and min(decision) >= 1
            and prod(decision[self.partition_pos :]) % self.innerpart_factor == 0
        )

    def decisions(self) -> Iterator[tuple[int, ...]]:
        """Every factorisation."""
        for row in self._table():
            yield tuple(int(f) for f in row)

    def size(self) -> int:
        """The number of factorisations."""
        return len(self._table())


@final
@dataclass(frozen=True, slots=True)
class Categorical:
    """One of ``len(candidates)`` values; a decision is the index of the value."""

    candidates: tuple[int | float | str, ...]
    probs: tuple[float, ...]

    def sample(self, rng: np.random.Generator) -> int:
        """Draw an index by the probabilities."""
        return int(rng.choice(len(self.candidates), p=self.probs))

    def contains(self, decision: Decision) -> bool:
        """Whether the index exists."""
        return isinstance(decision, int) and 0 <= decision < len(self.candidates)

    def decisions(self) -> Iterator[int]:
        """Every index."""
        return iter(range(len(self.candidates)))

    def size(self) -> int:
        """The number of candidates."""
        return len(self.candidates)


@final
class ComputeLocation:
    """Where a block may be computed: -2 inlined, -1 where it is, else the index of a loop.

    The draw is uniform. Whether a location is legal is found out when somebody asks, since a
    replay needs to know it of one location only.

    Args:
        loops: how many loops come into question.
        is_legal: whether a location is legal.
    """

    def __init__(self, loops: int, is_legal: Callable[[int], bool]) -> None:
        self._candidates = range(-2, loops)
        self._is_legal = lru_cache(maxsize=None)(is_legal)

    @property
    def locations(self) -> tuple[int, ...]:
        """The legal locations in ascending order."""
        return tuple(i for i in self._candidates if self._is_legal(i))

    def sample(self, rng: np.random.Generator) -> int:
        """Draw a location uniformly: the first legal one in a random order."""
        order = (int(i) for i in rng.permutation(np.array(self._candidates)))
        return next(i for i in order if self._is_legal(i))

    def contains(self, decision: Decision) -> bool:
        """Whether the location is legal."""
        known = type(decision) is int and decision in self._candidates
        return known and self._is_legal(decision)

    def decisions(self) -> Iterator[int]:
        """Every location."""
        return iter(self.locations)

    def size(self) -> int:
        """The number of locations."""
        return len(self.locations)

    def __str__(self) -> str:
        return f"ComputeLocation(locations={self.locations})"


class AbstractChoices(Protocol):
    """Where decisions come from while a schedule program runs."""

    def choose(self, index: int, site: AbstractSite) -> Decision | None:
        """The decision of instruction ``index``; None keeps a tile symbolic."""
        ...


@final
class Draw:
    """Draw every decision from the sites' distributions."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def choose(self, index: int, site: AbstractSite) -> Decision:
        """Sample the site."""
        return site.sample(self.rng)

    def fork(self) -> Draw:
        """A source of further draws that leaves this one as it is."""
        return Draw(self.rng.spawn(1)[0])


@final
class Replay:
    """Take decisions from a table keyed by instruction.

    Raises:
        TraceError: a decision is missing, or illegal on this program.
    """

    def __init__(self, decisions: dict[int, Decision]) -> None:
        self.decisions = decisions

    def choose(self, index: int, site: AbstractSite) -> Decision:
        """Look the decision up and check that it is legal."""
        if index not in self.decisions:
            raise TraceError(f"instruction {index} needs a decision, and the trace holds none")
        decision = self.decisions[index]
        if not site.contains(decision):
            raise TraceError(
                f"instruction {index}: decision {decision} is not legal for {site}; "
                "the trace belongs to another program"
            )
        return decision


@final
class Symbolic:
    """Keep tile sizes symbolic and take every other decision from a table.

    One replay then stands for all candidates of the same structure.
    """

    def __init__(self, decisions: dict[int, Decision]) -> None:
        self.decisions = decisions

    def choose(self, index: int, site: AbstractSite) -> Decision | None:
        """None for tiles, else the table's decision."""
        if isinstance(site, PerfectTile | PartitionedTile):
            return None
        return self.decisions[index]


@lru_cache(maxsize=4096)
def factorisations(extent: int, n: int, max_innermost: int) -> np.ndarray:
    """All ordered factorisations of ``extent`` into ``n`` factors as an int64 array ``(count, n)``.

    The last factor is at most ``max_innermost``; at least the row with last factor 1 exists.

    >>> factorisations(4, 2, 2).tolist()
    [[2, 2], [4, 1]]
    """
    if n == 1:
        return np.array([[extent]], dtype=np.int64)
    rows: list[np.ndarray] = []
    for last in _divisors(extent):
        if last > max(max_innermost, 1):
            break
        outer = factorisations(extent // last, n - 1, extent)
        rows.append(np.hstack([outer, np.full((len(outer), 1), last, dtype=np.int64)]))
    table = np.vstack(rows)
    table = table[np.lexsort(table.T[::-1])]
    table.setflags(write=False)
    return table


@lru_cache(maxsize=4096)
def _divisors(n: int) -> tuple[int, ...]:
    small = [d for d in range(1, int(n**0.5) + 1) if n % d == 0]
    return tuple(sorted({*small, *(n // d for d in small)}))
