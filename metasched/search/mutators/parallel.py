"""Mutate how far loops are made parallel, in spaces that sample it at a site of kind "parallel"."""

from __future__ import annotations

from typing import final

import numpy as np

from metasched.search.mutators.mutator import MUTATORS, AbstractMutator, Mutated
from metasched.search.mutators.redraw import redraw
from metasched.search.problem import AbstractStructure, AbstractStructureSet, Ints


@final
class Parallel(AbstractMutator):
    """Another value at one site of kind "parallel"; idle in spaces without such a site."""

    def mutate(
        self,
        structure: AbstractStructure,
        rows: Ints,
        structures: AbstractStructureSet,
        rng: np.random.Generator,
    ) -> Mutated | None:
        """Redraw one parallel site of each row."""
        del structures
        changed = redraw(structure, rows, ("parallel",), rng)
        return None if changed is None else (structure, changed)


MUTATORS.register("parallel", Parallel)
