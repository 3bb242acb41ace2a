"""How many candidates a sketch holds: exactly where its structures are few, else an estimate.

A leaf of the tree of structures holds the product of the sizes of its sites. A tree too large to
walk is probed by random descents (Knuth, "Estimating the Efficiency of Backtrack Programs",
Mathematics of Computation 1975).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from metasched.ir.stmt import Program
from metasched.space.walking import leaves, probe
from metasched.trace.trace import Trace


@dataclass(frozen=True, slots=True)
class Count:
    """A number of candidates.

    Attributes:
        value: the number, or its estimate.
        error: standard error of the estimate; 0.0 where the number is exact.
    """

    value: float
    error: float = 0.0

    @property
    def exact(self) -> bool:
        """Whether the number was counted rather than estimated."""
        return self.error == 0.0

    def __add__(self, other: Count) -> Count:
        return Count(self.value + other.value, sqrt(self.error**2 + other.error**2))

    def __str__(self) -> str:
        if self.exact:
            return f"{int(self.value)}" if self.value < 1e6 else f"{self.value:.3g}"
        return f"about {self.value:.3g} +- {self.error:.1g}"


def count(sketch: Trace, program: Program, *, most: int = 64, seed: int = 0) -> Count:
    """How many candidates a sketch holds.

    Args:
        sketch: the sketch.
        program: the program.
        most: structures to walk; with more, as many random descents estimate the number.
        seed: of the descents.
    """
    total = 0
    for number, leaf in enumerate(leaves(sketch, program)):
        if number == most:
            break
        total += leaf.size
    else:
        return Count(total)
    rng = np.random.default_rng(seed)
    found = [probe(sketch, program, rng) for _ in range(most)]
    sizes = np.array([0.0 if leaf is None else leaf.weight * leaf.size for leaf in found])
    return Count(float(sizes.mean()), float(sizes.std(ddof=1) / sqrt(most)))
