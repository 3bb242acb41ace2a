"""What a mutator is: it changes decisions of many candidates of one structure at once.

Read `tile_size` for the one that matters most, `compute_location` for one that changes structure.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Final, TypeAlias

import numpy as np

from metasched.errors import UsageError
from metasched.registry import Registry
from metasched.search.problem import AbstractStructure, AbstractStructureSet, Ints

Mutated: TypeAlias = tuple[AbstractStructure, Ints]


class AbstractMutator(ABC):
    """Changes one decision or so of each candidate.

    Lifecycle: a strategy makes one of each and calls it several times a generation, from one
    thread, with candidates of one structure at a time. A mutator may keep tables per structure. It
    is vectorised, draws only from the given generator, and leaves its input as it was.

    Attributes:
        structural: Whether it changes the structure. Those cost a symbolic replay, so they are
            called once a generation only.
    """

    structural: ClassVar[bool] = False

    @abstractmethod
    def mutate(
        self,
        structure: AbstractStructure,
        rows: Ints,
        structures: AbstractStructureSet,
        rng: np.random.Generator,
    ) -> Mutated | None:
        """Changed candidates, row by row; None where the structure has nothing to change.

        Args:
            structure: What the rows belong to.
            rows: ``(n, sites)`` decisions.
            structures: The space, for mutators that change the structure.
            rng: The only source of randomness.
        """


MUTATORS = Registry[Callable[[], AbstractMutator]]("mutator")

DEFAULT_WEIGHTS: Final[tuple[tuple[str, float], ...]] = (
    ("tile_size", 0.9),
    ("compute_location", 0.05),
    ("unroll", 0.03),
    ("parallel", 0.02),
)
"""MetaSchedule's weights on CPUs."""


def make_mutators(weights: tuple[tuple[str, float], ...]) -> Mapping[AbstractMutator, float]:
    """Mutators by registered name with their weights.

    Raises:
        UsageError: A name is unknown, a weight is negative, or all are zero.
    """
    for name, weight in weights:
        if not weight >= 0:
            raise UsageError(f"mutator '{name}' has weight {weight}; expected at least zero")
    if not any(weight for _, weight in weights):
        raise UsageError("no mutator has a weight above zero; give at least one")
    return {MUTATORS[name](): weight for name, weight in weights if weight > 0}
