"""Mutate annotation values such as the unroll limit: draw another of the site's values."""

from __future__ import annotations

from typing import final

import numpy as np

from metasched.search.mutators.mutator import MUTATORS, AbstractMutator, Mutated
from metasched.search.mutators.redraw import redraw
from metasched.search.problem import AbstractStructure, AbstractStructureSet, Ints


@final
class Unroll(AbstractMutator):
    """Another value at one categorical site, by the site's probabilities."""

    def mutate(
        self,
        structure: AbstractStructure,
        rows: Ints,
        structures: AbstractStructureSet,
        rng: np.random.Generator,
    ) -> Mutated | None:
        """Redraw one categorical site of each row."""
        del structures
        changed = redraw(structure, rows, ("categorical", "unroll"), rng)
        return None if changed is None else (structure, changed)


MUTATORS.register("unroll", Unroll)
