"""Structures: all candidates of one loop structure, scored at once.

A sketch is a trace without decisions. Its sampling steps are either *structural* (a compute
location, a choice that reshapes the program) or *free* (tile sizes, annotation values). Fixing the
structural ones gives a `Structure`; it is replayed once with its free choices as symbols, and a
population is then an integer matrix that NumPy scores. Only candidates to be measured are replayed
for real.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from metasched.analysis.kernels import kernels
from metasched.analysis.nest import ProgramSummary, summarise
from metasched.cost.evaluation import Evaluation, evaluate_candidates
from metasched.cost.machine import AnyMachine
from metasched.schedule.samplers.site import (
    AbstractSite,
    Categorical,
    ComputeLocation,
    PartitionedTile,
    PerfectTile,
    factorisations,
)
from metasched.schedule.schedule import Schedule
from metasched.space.rules.auto_bind import THREADS
from metasched.trace.instruction import Decision
from metasched.trace.trace import Trace

Rows = npt.NDArray[np.int64]
Key = tuple[int, tuple[tuple[int, Decision], ...]]


class Structure:
    """One sketch with its structural decisions fixed; free sites are columns of a matrix.

    Attributes:
        key: number of the sketch and the structural decisions; identifies the structure.
        sites: instruction indices of the free sites, one column each.
        tables: per free site its decisions, int64 ``(count, width)``; entries of the matrix are row
            numbers of these tables.
        kinds: "tile", "thread" (a choice of threads) or "categorical" per free site.
        probs: per free site the probabilities of its decisions, None for uniform.
    """

    def __init__(
        self,
        sketch: Trace,
        schedule: Schedule,
        number: int,
        free: frozenset[int],
        machine: AnyMachine,
    ) -> None:
        structural = {i: d for i, d in schedule.trace.decisions.items() if i not in free}
        self.key: Key = (number, tuple(sorted(structural.items())))
        self.sketch = sketch
        self.structural = structural
        self.sites = tuple(sorted(free))
        found = [schedule.sites[i] for i in self.sites]
        self.tables = tuple(_table(site) for site in found)
        self.kinds = tuple(
            _kind(sketch, site, index) for index, site in zip(self.sites, found, strict=True)
        )
        self.probs = tuple(
            np.asarray(s.probs) if isinstance(s, Categorical) else None for s in found
        )
        self.limits = tuple(s.max_innermost if isinstance(s, PerfectTile) else None for s in found)
        self.locations = {
            i: site for i, site in schedule.sites.items() if isinstance(site, ComputeLocation)
        }
        self._machine = machine
        self.summary: ProgramSummary = summarise(schedule.program)
        self._kernels = kernels(schedule.program)
        self._symbols = tuple(
            (column, k, self.summary.symbols[name], table)
            for column, (index, table) in enumerate(
                zip(self.sites, map(_values, found), strict=True)
            )
            for k in range(table.shape[1])
            if (name := f"t{index}_{k}") in self.summary.symbols
        )
        params = {p.name for p in schedule.program.params}
        self._private = frozenset(
            a.buffer.name
            for store in self.summary.stores
            for a in store.accesses
            if a.buffer.name not in params
        )

    def evaluate(self, rows: Rows) -> Evaluation:
        """Features, prior and validity of candidates, ``rows`` int64 ``(n, len(sites))``."""
        values = {symbol: table[rows[:, column], k] for column, k, symbol, table in self._symbols}
        return evaluate_candidates(
            self.summary, self._kernels, values, len(rows), self._machine, self._private
        )

    def sample(self, rng: np.random.Generator, count: int) -> Rows:
        """Draw candidates from the sites' distributions."""
        rows = np.zeros((count, len(self.sites)), dtype=np.int64)
        for column, (table, probs) in enumerate(zip(self.tables, self.probs, strict=True)):
            rows[:, column] = rng.choice(len(table), size=count, p=probs)
        return rows

    def size(self) -> int:
        """How many candidates the structure holds."""
        total = 1
        for table in self.tables:
            total *= len(table)
        return total

    def decisions(self, row: Sequence[int] | Rows) -> dict[int, Decision]:
        """All decisions of a candidate."""
        result = dict(self.structural)
        for site, table, kind, entry in zip(self.sites, self.tables, self.kinds, row, strict=True):
            values = tuple(int(v) for v in table[int(entry)])
            result[site] = values[0] if kind != "tile" else values
        return result

    def trace(self, row: Sequence[int] | Rows) -> Trace:
        """The trace of a candidate, before postprocessing."""
        return Trace(self.sketch.instructions, self.decisions(row))

    def row(self, decisions: dict[int, Decision]) -> Rows | None:
        """The matrix row of a candidate's decisions; None when one is not in the tables."""
        row = np.zeros(len(self.sites), dtype=np.int64)
        for column, (site, table) in enumerate(zip(self.sites, self.tables, strict=True)):
            wanted = decisions.get(site)
            if wanted is None:
                return None
            values = np.atleast_1d(np.asarray(wanted, dtype=np.int64))
            if values.shape != (table.shape[1],):
                return None
            hits = np.flatnonzero((table == values).all(axis=1))
            if not len(hits):
                return None
            row[column] = hits[0]
        return row


def _kind(sketch: Trace, site: AbstractSite, index: int) -> str:
    """What a free site decides, by what its value is noted as."""
    if not isinstance(site, Categorical):
        return "tile"
    (value,) = sketch.instructions[index].outputs
    return "thread" if (THREADS, value) in _notes(sketch) else "categorical"


def _notes(sketch: Trace) -> set[tuple[object, object]]:
    return {step.inputs[1:3] for step in sketch.instructions if step.kind == "annotate"}  # pyright: ignore[reportReturnType]


def _table(site: AbstractSite) -> Rows:
    match site:
        case PerfectTile():
            return factorisations(site.extent, site.n, site.max_innermost)
        case PartitionedTile():
            return np.array(list(site.decisions()), dtype=np.int64)
        case _:
            return np.arange(site.size(), dtype=np.int64)[:, None]


def _values(site: AbstractSite) -> npt.NDArray[np.float64]:
    """What the decisions mean as numbers: the factors, or the categorical values."""
    if isinstance(site, Categorical):
        return np.array([[float(c)] for c in site.candidates])
    return _table(site).astype(np.float64)
