"""Mutate the structure: another compute location, or another sketch. Tile sizes are kept."""

from __future__ import annotations

from typing import ClassVar, final

import numpy as np

from metasched.search.mutators.mutator import MUTATORS, AbstractMutator, Mutated
from metasched.search.population import transfer
from metasched.search.problem import AbstractStructure, AbstractStructureSet, Ints


@final
class ComputeLocation(AbstractMutator):
    """Move all given candidates to one neighbouring structure."""

    structural: ClassVar[bool] = True

    def mutate(
        self,
        structure: AbstractStructure,
        rows: Ints,
        structures: AbstractStructureSet,
        rng: np.random.Generator,
    ) -> Mutated | None:
        """Draw a neighbour and carry the decisions over."""
        found = structures.neighbour(structure, rng)
        if found is None or found.key == structure.key:
            return None
        return found, transfer(structure, rows, found, rng)


MUTATORS.register("compute_location", ComputeLocation)
