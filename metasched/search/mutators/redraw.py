"""Draw another value at one categorical site of each candidate; what several mutators share."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

import numpy as np

from metasched.search.mutators.mutator import AbstractMutator, Mutated
from metasched.search.problem import AbstractStructure, AbstractStructureSet, Ints


class AbstractRedraw(AbstractMutator):
    """Another value at one site of some kinds, by its probabilities; idle without such a site.

    Attributes:
        kinds: of the sites.
    """

    kinds: ClassVar[tuple[str, ...]]

    def mutate(
        self,
        structure: AbstractStructure,
        rows: Ints,
        structures: AbstractStructureSet,
        rng: np.random.Generator,
    ) -> Mutated | None:
        """Redraw one site of each row."""
        del structures
        changed = redraw(structure, rows, self.kinds, rng)
        return None if changed is None else (structure, changed)


def redraw(
    structure: AbstractStructure, rows: Ints, kinds: Collection[str], rng: np.random.Generator
) -> Ints | None:
    """Rows with one site of the given kinds drawn again, never the value it had.

    None where no such site has a choice.
    """
    sites = [c for c, kind in enumerate(structure.kinds) if kind in kinds]
    sites = [c for c in sites if len(structure.tables[c]) > 1]
    if not sites:
        return None
    result = rows.copy()
    choice = rng.integers(len(sites), size=len(rows))
    for k, column in enumerate(sites):
        index = np.flatnonzero(choice == k)
        result[index, column] = _others(structure, column, rows[index, column], rng)
    return result


def _others(
    structure: AbstractStructure, column: int, current: Ints, rng: np.random.Generator
) -> Ints:
    """One draw per entry by the site's probabilities, without the current value."""
    count, probs = len(structure.tables[column]), structure.probs[column]
    weights = np.tile(np.full(count, 1.0 / count) if probs is None else probs, (len(current), 1))
    weights[np.arange(len(current)), current] = 0.0
    total = weights.cumsum(axis=1)
    stuck = total[:, -1] <= 0.0
    drawn = (rng.random(len(current))[:, None] * total[:, -1:] >= total).sum(axis=1)
    return np.where(stuck, current, np.minimum(drawn, count - 1))
