"""Structures: all candidates of one loop structure, scored at once.

A sketch is a trace without decisions. Its sampling steps are either *structural* (a compute
location, a choice that reshapes the program) or *free* (tile sizes, annotation values). Fixing the
structural ones gives a `Structure`; it is replayed once with its free choices as symbols, and a
population is then an integer matrix that NumPy scores. Only candidates to be measured are replayed
for real.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metasched.analysis.nest import ProgramSummary, summarise
from metasched.cost.features import evaluate_program
from metasched.cost.machine import Machine
from metasched.errors import MetaschedError
from metasched.ir.stmt import Program
from metasched.schedule.replay import replay
from metasched.schedule.samplers import SAMPLERS
from metasched.schedule.samplers.site import (
    AbstractSite,
    Categorical,
    ComputeLocation,
    PartitionedTile,
    PerfectTile,
    factorisations,
)
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Decision, Ref, refs_in
from metasched.trace.trace import Trace

Rows = npt.NDArray[np.int64]
Key = tuple[int, tuple[tuple[int, Decision], ...]]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What bulk scoring knows of a population of ``n`` candidates.

    Attributes:
        features: ``(n, stores, features)`` float32.
        prior_s: analytic seconds per store, ``(n, stores)`` float64.
        valid: whether a candidate may be built, ``(n,)`` bool.
    """

    features: npt.NDArray[np.float32]
    prior_s: npt.NDArray[np.float64]
    valid: npt.NDArray[np.bool_]


class Free:
    """Choices for a symbolic replay: structural decisions from a table, the rest kept symbolic."""

    def __init__(self, decisions: dict[int, Decision], free: frozenset[int]) -> None:
        self.decisions = decisions
        self.free = free
        self.rng = np.random.default_rng(0)

    def choose(self, index: int, site: AbstractSite) -> Decision | None:
        """None for a free site; the first legal decision where the table has none."""
        if index in self.free:
            return None
        decision = self.decisions.get(index)
        if decision is None or not site.contains(decision):
            decision = next(site.decisions())
            self.decisions[index] = decision
        return decision


class Structure:
    """One sketch with its structural decisions fixed; free sites are columns of a matrix.

    Attributes:
        key: number of the sketch and the structural decisions; identifies the structure.
        sites: instruction indices of the free sites, one column each.
        tables: per free site its decisions, int64 ``(count, width)``; entries of the matrix are row
            numbers of these tables.
        kinds: "tile" or "categorical" per free site.
        probs: per free site the probabilities of its decisions, None for uniform.
    """

    def __init__(
        self, sketch: Trace, schedule: Schedule, number: int, free: frozenset[int], machine: Machine
    ) -> None:
        structural = {i: d for i, d in schedule.trace.decisions.items() if i not in free}
        self.key: Key = (number, tuple(sorted(structural.items())))
        self.sketch = sketch
        self.structural = structural
        self.sites = tuple(sorted(free))
        found = [schedule.sites[i] for i in self.sites]
        self.tables = tuple(_table(site) for site in found)
        self.kinds = tuple("categorical" if isinstance(s, Categorical) else "tile" for s in found)
        self.probs = tuple(
            np.asarray(s.probs) if isinstance(s, Categorical) else None for s in found
        )
        self.limits = tuple(s.max_innermost if isinstance(s, PerfectTile) else None for s in found)
        self.locations = {
            i: site for i, site in schedule.sites.items() if isinstance(site, ComputeLocation)
        }
        self._machine = machine
        self.summary: ProgramSummary = summarise(schedule.program)
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
        features, prior = evaluate_program(
            self.summary, values, len(rows), self._machine, self._private
        )
        return Evaluation(features, prior, np.ones(len(rows), dtype=np.bool_))

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
            result[site] = values[0] if kind == "categorical" else values
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


class StructureSet:
    """The structures of one program, made on demand and remembered.

    Args:
        program: the program to tune.
        sketches: its sketches.
        machine: rates of the target, for the prior.
        most: how many structures are kept; the least recently used ones go first.
    """

    def __init__(
        self, program: Program, sketches: Sequence[Trace], machine: Machine, most: int = 512
    ) -> None:
        self.program = program
        self.sketches = tuple(sketches)
        self._machine = machine
        self._most = most
        self._free = [_free_sites(trace) for trace in self.sketches]
        self._structural = [
            any(
                step.kind in SAMPLERS and i not in free for i, step in enumerate(trace.instructions)
            )
            for trace, free in zip(self.sketches, self._free, strict=True)
        ]
        self._known: dict[Key, Structure] = {}
        self.refused: dict[str, int] = {}

    def get(self, number: int, structural: dict[int, Decision]) -> Structure | None:
        """The structure of a sketch with the given structural decisions.

        Decisions that are not legal (they depend on earlier ones) fall to the first legal one.
        None when the sketch cannot be replayed so; the reason is counted in `refused`.
        """
        wanted: Key = (number, tuple(sorted(structural.items())))
        found = self._known.get(wanted)
        if found is not None:
            self._known[wanted] = self._known.pop(wanted)
            return found
        sketch, free = self.sketches[number], self._free[number]
        try:
            schedule = replay(sketch, self.program, choices=Free(dict(structural), free))
        except MetaschedError as error:
            reason = str(error).splitlines()[0]
            self.refused[reason] = self.refused.get(reason, 0) + 1
            return None
        structure = Structure(sketch, schedule, number, free, self._machine)
        structure = self._known.setdefault(structure.key, structure)
        self._known[wanted] = structure
        while len(self._known) > self._most:
            self._known.pop(next(iter(self._known)))
        return structure

    def seed(self, rng: np.random.Generator, count: int) -> list[Structure]:
        """Draw up to ``count`` distinct structures, every sketch at least once if possible."""
        found: dict[Key, Structure] = {}
        tries, first = 0, int(rng.integers(max(len(self.sketches), 1)))
        while self.sketches and len(found) < count and tries < 2 * count + len(self.sketches):
            number = (first + tries) % len(self.sketches)
            structure = self._draw(number, rng)
            if structure is not None:
                found.setdefault(structure.key, structure)
            tries += 1
        return list(found.values())

    def _draw(self, number: int, rng: np.random.Generator) -> Structure | None:
        if not self._structural[number]:
            return self.get(number, {})  # nothing to draw, and this one is remembered
        drawing = _DrawStructure(rng, self._free[number])
        try:
            schedule = replay(self.sketches[number], self.program, choices=drawing)
        except MetaschedError as error:
            reason = str(error).splitlines()[0]
            self.refused[reason] = self.refused.get(reason, 0) + 1
            return None
        made = Structure(self.sketches[number], schedule, number, self._free[number], self._machine)
        return self._known.setdefault(made.key, made)

    def neighbour(self, structure: Structure, rng: np.random.Generator) -> Structure | None:
        """A structure with one structural decision, or the sketch, changed."""
        moves = [i for i, site in structure.locations.items() if site.size() > 1]
        if not moves or rng.random() < 0.1:
            return self._draw(int(rng.integers(len(self.sketches))), rng)
        index = moves[int(rng.integers(len(moves)))]
        return self.get(
            structure.key[0],
            {**structure.structural, index: structure.locations[index].sample(rng)},
        )

    def of_trace(self, trace: Trace) -> tuple[Structure, Rows] | None:
        """The structure and row of a trace of one of the sketches; None for any other trace."""
        for number, sketch in enumerate(self.sketches):
            if sketch.instructions != trace.instructions:
                continue
            free = self._free[number]
            decisions = dict(trace.decisions)
            structure = self.get(number, {i: d for i, d in decisions.items() if i not in free})
            row = None if structure is None else structure.row(decisions)
            if structure is not None and row is not None:
                return structure, row
        return None


class _DrawStructure:
    """Draw structural decisions, keep free sites symbolic."""

    def __init__(self, rng: np.random.Generator, free: frozenset[int]) -> None:
        self.rng = rng
        self.free = free

    def choose(self, index: int, site: AbstractSite) -> Decision | None:
        """None for a free site, else a draw."""
        return None if index in self.free else site.sample(self.rng)


def _free_sites(sketch: Trace) -> frozenset[int]:
    """Tile samplings, and categorical ones whose value only annotates."""
    free: set[int] = set()
    for index, step in enumerate(sketch.instructions):
        if step.kind in ("sample_perfect_tile", "sample_partitioned_tile"):
            free.add(index)
        elif step.kind == "sample_categorical" and _only_annotates(sketch, step.outputs):
            free.add(index)
        elif step.kind in SAMPLERS:
            continue
    return frozenset(free)


def _only_annotates(sketch: Trace, outputs: tuple[Ref, ...]) -> bool:
    return all(
        step.kind == "annotate"
        for step in sketch.instructions
        if any(ref in outputs for value in step.inputs for ref in refs_in(value))
    )


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
