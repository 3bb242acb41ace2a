"""What the search needs to know of a space, as protocols.

`structure` has the real members; tests and simulators bring their own. Read `population` next.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from metasched.trace.trace import Trace

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]


class AbstractEvaluation(Protocol):
    """What bulk scoring knows of ``n`` candidates of one structure."""

    @property
    def features(self) -> NDArray[np.float32]:
        """``(n, stores, F)``."""
        ...

    @property
    def prior_s(self) -> Floats:
        """Analytic seconds per store, ``(n, stores)``."""
        ...

    @property
    def valid(self) -> Bools:
        """Whether a candidate may be built, ``(n,)``."""
        ...


class AbstractStructure(Protocol):
    """A sketch with its structural choices fixed; a candidate is a row of integers.

    Column ``c`` of a matrix of candidates holds row numbers of ``tables[c]``.
    """

    @property
    def key(self) -> Hashable:
        """Identifies the structure within its space."""
        ...

    @property
    def tables(self) -> tuple[Ints, ...]:
        """Per free site its decisions, ``(count, width)``."""
        ...

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of each free site, "tile" or "categorical"."""
        ...

    @property
    def probs(self) -> tuple[Floats | None, ...]:
        """Per free site the probabilities of its decisions, None for uniform."""
        ...

    def evaluate(self, rows: Ints) -> AbstractEvaluation:
        """Features, prior and validity of candidates, ``rows`` ``(n, sites)``."""
        ...

    def trace(self, row: Ints) -> Trace:
        """The trace of one candidate, ``row`` ``(sites,)``."""
        ...


class AbstractStructureSet(Protocol):
    """The structures of one program on one target."""

    @property
    def refused(self) -> Mapping[str, int]:
        """Reasons why structures could not be made, with counts."""
        ...

    def seed(self, rng: np.random.Generator, count: int) -> Sequence[AbstractStructure]:
        """Draw up to ``count`` distinct structures."""
        ...

    # A set is only ever given its own structures; ``Any`` lets it name their class.
    def neighbour(self, structure: Any, rng: np.random.Generator, /) -> AbstractStructure | None:
        """A structure with one structural choice changed; None when the draw was not legal."""
        ...

    def rerun(self, rng: np.random.Generator) -> tuple[AbstractStructure, Ints] | None:
        """One candidate by a fresh run of the space with all its draws; None where it failed."""
        ...

    def of_trace(self, trace: Trace, /) -> tuple[AbstractStructure, Ints] | None:
        """The structure and row of a trace; None for a trace of another space."""
        ...
