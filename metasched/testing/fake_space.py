"""A space without programs: a synthetic landscape over tile sizes, for tests and benchmarks.

The time of a candidate is smooth in the logarithms of its tile sizes around an optimum that depends
on the structure; the prior knows a part of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from metasched.cost.model import FeatureLayout
from metasched.schedule.samplers.site import factorisations
from metasched.search.problem import Bools, Floats, Ints
from metasched.search.records import Candidate, Outcome, Result
from metasched.trace.trace import Trace

WIDTH = 24
LAYOUT = FeatureLayout(tuple(f"f{i}" for i in range(WIDTH)), version=1)
UNROLL = 4


@dataclass(frozen=True, eq=False)
class FakeEvaluation:
    """Features, prior and validity of candidates."""

    features: np.ndarray
    prior_s: Floats
    valid: Bools


@dataclass(frozen=True, eq=False)
class FakeStructure:
    """Sites: a tiling per extent, then one categorical site."""

    key: tuple[int, int]
    tables: tuple[Ints, ...]
    valid: Callable[[Ints], Bools]
    kinds: tuple[str, ...] = ()
    probs: tuple[Floats | None, ...] = ()

    def factors(self, rows: Ints) -> Floats:
        """Logarithms of all factors and the unroll choice, ``(n, columns)``."""
        tiles = [
            np.log2(table[rows[:, c]].astype(np.float64))
            for c, table in enumerate(self.tables[:-1])
        ]
        return np.hstack([*tiles, rows[:, -1:].astype(np.float64)])

    def distance(self, x: Floats) -> Floats:
        """How far each column is from its optimum, ``(n, columns)``."""
        steps: Floats = np.arange(x.shape[1], dtype=np.float64)
        optimum: Floats = (steps * (self.key[1] + 2)) % 4
        return np.abs(x - optimum)

    def seconds(self, rows: Ints) -> Floats:
        """The truth, ``(n,)``."""
        x = self.factors(rows)
        tail: Floats = x[:, 0] - x[:, -2]
        bend = 0.08 * self.distance(x).sum(axis=1) + 0.15 * np.abs(tail)
        return 1e-4 * np.exp(bend + 0.3 * self.key[0] + 0.1 * self.key[1])

    def evaluate(self, rows: Ints) -> FakeEvaluation:
        """Features that hold all factors, and a prior that knows a part of the landscape."""
        x = self.factors(rows)
        features = np.zeros((len(rows), 2, WIDTH), dtype=np.float32)
        features[:, :, : x.shape[1]] = x[:, None, :]
        features[:, 1, -1] = 1.0
        features[:, :, -3:-1] = self.key
        crude = 1e-4 * np.exp(0.08 * self.distance(x)[:, :7].sum(axis=1) + 0.05 * x[:, 1])
        return FakeEvaluation(features, np.stack([crude, 0.1 * crude], axis=1), self.valid(rows))

    def trace(self, row: Ints) -> Trace:
        """A trace without steps that holds the key and the factors as decisions."""
        tiles = {c + 1: tuple(int(v) for v in table[row[c]]) for c, table in enumerate(self.tables)}
        return Trace((), {0: self.key, **tiles})


@dataclass(eq=False)
class FakeSpace:
    """``sketches`` times ``locations`` structures over the same tilings."""

    extents: Sequence[tuple[int, int]] = ((512, 4), (512, 4), (512, 2))
    sketches: int = 2
    locations: int = 3
    valid: Callable[[Ints], Bools] = lambda rows: np.ones(len(rows), dtype=np.bool_)
    refused: Mapping[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        tables = tuple(factorisations(extent, n, 64) for extent, n in self.extents)
        tables = (*tables, np.arange(UNROLL, dtype=np.int64)[:, None])
        kinds = ("tile",) * len(self.extents) + ("categorical",)
        probs = (None,) * len(self.extents) + (np.full(UNROLL, 1 / UNROLL),)
        self.all = {
            (s, k): FakeStructure((s, k), tables, self.valid, kinds, probs)
            for s in range(self.sketches)
            for k in range(self.locations)
        }

    def seed(self, rng: np.random.Generator, count: int) -> list[FakeStructure]:
        """Draw structures."""
        keys = list(self.all)
        return [self.all[keys[i]] for i in rng.permutation(len(keys))[:count]]

    def neighbour(self, structure: FakeStructure, rng: np.random.Generator) -> FakeStructure | None:
        """The location before or after, None beyond the ends."""
        sketch, location = structure.key
        return self.all.get((sketch, location + int(rng.choice([-1, 1]))))

    def rerun(self, rng: np.random.Generator) -> tuple[FakeStructure, Ints] | None:
        """A candidate with everything drawn anew."""
        if not self.all:
            return None
        structure = self.seed(rng, 1)[0]
        return structure, np.array([int(rng.integers(len(t))) for t in structure.tables])

    def of_trace(self, trace: Trace) -> tuple[FakeStructure, Ints] | None:
        """The structure and row of a trace."""
        structure = self.all.get(trace.decisions.get(0))  # type: ignore[arg-type]
        if structure is None:
            return None
        row = [
            int(np.flatnonzero((table == trace.decisions[c + 1]).all(axis=1))[0])
            for c, table in enumerate(structure.tables)
        ]
        return structure, np.array(row)

    def size(self) -> int:
        """How many candidates there are."""
        return sum(math.prod(len(t) for t in s.tables) for s in self.all.values())

    def best_s(self) -> float:
        """The global optimum, by looking at everything in sketch 0; each later one only adds."""
        from metasched.search.population import all_rows

        first = [s for s in self.all.values() if s.key[0] == 0]
        return min(float(s.seconds(all_rows(s)).min()) for s in first)


def measure(candidates: Sequence[Candidate]) -> list[Result]:
    """The true times of candidates."""
    return [Result(c.id, Outcome.OK, seconds(c)) for c in candidates]


def seconds(candidate: Candidate) -> float:
    """The true time of one candidate."""
    assert isinstance(candidate.structure, FakeStructure)
    return float(candidate.structure.seconds(candidate.row[None, :])[0])
