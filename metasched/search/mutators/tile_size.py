"""Mutate tile sizes: move a divisor from one factor of a loop's tiling to another.

The moves of a table of factorisations are computed once, as a sparse graph over its rows; a
mutation is then one step along a random edge, for all candidates at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from metasched.search.mutators.mutator import MUTATORS, AbstractMutator, Mutated
from metasched.search.problem import AbstractStructure, AbstractStructureSet, Ints

_MOST_MOVES = 1_000_000
"""Above this many moves to try, only prime divisors are moved."""


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """A sparse graph: node ``i`` leads to ``targets[starts[i] : starts[i + 1]]``."""

    starts: Ints
    targets: Ints


@dataclass(frozen=True, slots=True, eq=False)
class _Sites:
    """The moves of all tile sites of a structure, their nodes numbered through.

    Attributes:
        columns: ``(k,)`` columns with at least one move.
        offsets: ``(k,)`` node of row 0 of each.
        moves: Their graphs one after the other; targets are rows of the site's own table.
    """

    columns: Ints
    offsets: Ints
    moves: Moves


@final
class TileSize(AbstractMutator):
    """One step at one tile site of each candidate, at a second one for a share of them.

    Args:
        second: Share of the candidates that take a second step.
    """

    def __init__(self, second: float = 0.3) -> None:
        self._second = second
        self._sites: dict[int, tuple[AbstractStructure, _Sites]] = {}

    def mutate(
        self,
        structure: AbstractStructure,
        rows: Ints,
        structures: AbstractStructureSet,
        rng: np.random.Generator,
    ) -> Mutated | None:
        """Move a divisor in each row."""
        del structures
        sites = self._of(structure)
        if not len(sites.columns):
            return None
        result = rows.copy()
        _step(sites, result, np.arange(len(rows)), rng)
        _step(sites, result, np.flatnonzero(rng.random(len(rows)) < self._second), rng)
        return structure, result

    def _of(self, structure: AbstractStructure) -> _Sites:
        # Keyed by identity, with the structure kept alive so that its id stays its own.
        found = self._sites.get(id(structure))
        if found is None:
            found = self._sites[id(structure)] = (structure, _collect(structure))
        return found[1]


MUTATORS.register("tile_size", TileSize)


def tile_moves(table: Ints) -> Moves:
    """All single moves within a table of factorisations ``(count, width)``.

    A move divides one factor of a row by a divisor and multiplies another by it; it exists where
    the result is in the table too, which is how limits on factors are respected.

    >>> tile_moves(np.array([[1, 4], [2, 2], [4, 1]])).targets.tolist()
    [1, 2, 0, 2, 0, 1]
    """
    return _tile_moves(table.shape[1], np.ascontiguousarray(table, dtype=np.int64).tobytes())


@lru_cache(maxsize=1024)
def _tile_moves(width: int, content: bytes) -> Moves:
    table: Ints = np.frombuffer(content, dtype=np.int64).reshape(-1, width)
    codes = _codes(table)
    order = np.argsort(codes)
    sources: list[Ints] = []
    targets: list[Ints] = []
    for i, j in permutations(range(width), 2):
        for divisor in _divisors(table):
            source = np.flatnonzero(table[:, i] % divisor == 0)
            moved = table[source]
            moved[:, i] //= divisor
            moved[:, j] *= divisor
            wanted = _codes(moved)
            place = np.minimum(np.searchsorted(codes[order], wanted), len(table) - 1)
            hit = codes[order][place] == wanted
            sources.append(source[hit])
            targets.append(order[place[hit]])
    return _graph(len(table), sources, targets)


def _graph(nodes: int, sources: list[Ints], targets: list[Ints]) -> Moves:
    none = np.zeros(0, dtype=np.int64)
    source, target = np.concatenate([none, *sources]), np.concatenate([none, *targets])
    order = np.lexsort((target, source))
    starts = np.searchsorted(source[order], np.arange(nodes + 1))
    return Moves(starts, target[order])


def _codes(table: Ints) -> NDArray[Any]:
    """One number per row, equal only for equal rows of one product.

    Factors of one product below 2^63 are told apart by a polynomial with wrap-around.
    """
    multipliers = np.uint64(0x9E3779B97F4A7C15) ** np.arange(table.shape[1], dtype=np.uint64)
    return (table.astype(np.uint64) * multipliers).sum(axis=1)


def _divisors(table: Ints) -> list[int]:
    values = np.unique(table)
    values = values[values > 1]
    if len(values) * len(table) * table.shape[1] ** 2 <= _MOST_MOVES:
        return [int(v) for v in values]
    return [int(v) for v in values if not (v % values[values < v] == 0).any()]


def _collect(structure: AbstractStructure) -> _Sites:
    columns: list[int] = []
    graphs: list[Moves] = []
    for column, (table, kind) in enumerate(zip(structure.tables, structure.kinds, strict=True)):
        moves = tile_moves(table) if kind == "tile" else None
        if moves is not None and len(moves.targets):
            columns.append(column)
            graphs.append(moves)
    ends = np.cumsum([0, *(len(g.targets) for g in graphs)])
    starts = [g.starts + end for g, end in zip(graphs, ends[:-1], strict=True)]
    none = np.zeros(0, dtype=np.int64)
    moves = Moves(
        np.concatenate([none, *starts]), np.concatenate([none, *(g.targets for g in graphs)])
    )
    offsets = np.cumsum([0, *(len(g.starts) for g in graphs)])[:-1]
    return _Sites(np.array(columns, dtype=np.int64), offsets, moves)


def _step(sites: _Sites, rows: Ints, index: Ints, rng: np.random.Generator) -> None:
    """One random step, in place, for the rows at ``index``."""
    choice = rng.integers(len(sites.columns), size=len(index))
    column = sites.columns[choice]
    node = sites.offsets[choice] + rows[index, column]
    first, last = sites.moves.starts[node], sites.moves.starts[node + 1]
    edge = first + (rng.random(len(index)) * (last - first)).astype(np.int64)
    can = last > first
    rows[index[can], column[can]] = sites.moves.targets[edge[can]]
