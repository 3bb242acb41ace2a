"""Mutate how many threads a block has, where tile sizes do not decide it."""

from __future__ import annotations

from typing import final

import numpy as np

from metasched.search.mutators.mutator import MUTATORS, AbstractMutator, Mutated
from metasched.search.mutators.redraw import redraw
from metasched.search.problem import AbstractStructure, AbstractStructureSet, Ints


@final
class ThreadBinding(AbstractMutator):
    """Another value at one site of kind "thread"; idle in spaces without such a site."""

    def mutate(
        self,
        structure: AbstractStructure,
        rows: Ints,
        structures: AbstractStructureSet,
        rng: np.random.Generator,
    ) -> Mutated | None:
        """Redraw one site of each row."""
        del structures
        changed = redraw(structure, rows, ("thread",), rng)
        return None if changed is None else (structure, changed)


MUTATORS.register("thread_binding", ThreadBinding)
