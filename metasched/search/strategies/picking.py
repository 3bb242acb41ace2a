"""Choose a batch from scored candidates: fast or promising, not too many alike, a few at random."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import ceil

import numpy as np

from metasched.search.population import Book, Population
from metasched.search.problem import AbstractStructure, Floats, Ints
from metasched.search.scoring import Scorer
from metasched.search.strategies.strategy import Pick

_CONSIDERED = 16
"""So many times the wanted candidates are looked at more closely."""


@dataclass(frozen=True, slots=True)
class PickOptions:
    """How far a batch trades predicted speed for what could be learned, and for diversity.

    Attributes:
        hope: Candidates are ranked by their predicted log-seconds less so many standard deviations,
            so that what may be faster than it looks comes before what surely is as good.
        slack: Only candidates predicted within this of the best (log-seconds) displace better
            ones for the sake of diversity.
        structure_share: Share of the batch that may come from one structure.
        tile_share: Share that may agree in the main tile of the same structure.
        alike: How many may agree in all tiles and differ in annotations only.
    """

    slack: float = 0.25
    structure_share: float = 0.5
    tile_share: float = 0.25
    alike: int = 2
    hope: float = 0.5


def pick_best(
    population: Population, count: int, options: PickOptions, scorer: Scorer
) -> tuple[Population, Floats]:
    """The best ``count`` candidates under the limits; the limits give way before a slot stays free.

    The population holds no candidate twice.

    Returns:
        The candidates, and the standard deviations of their scores.
    """
    best = np.argsort(population.scores, kind="stable")[: _CONSIDERED * count]
    population = population.take(best)
    unsure = scorer.uncertainty(population)
    hoped = population.scores - options.hope * unsure
    order = np.argsort(hoped, kind="stable")
    population, unsure, hoped = population.take(order), unsure[order], hoped[order]
    if len(population) <= count:
        return population, unsure
    near = hoped <= hoped[0] + options.slack
    chosen = _within_limits(population.take(near), count, options, scorer.book)
    left = np.ones(len(population), dtype=np.bool_)
    left[chosen] = False
    rest = np.flatnonzero(left)[: count - len(chosen)]
    taken = np.sort(np.concatenate([chosen, rest]))
    return population.take(taken), unsure[taken]


def pick_random(population: Population, count: int, rng: np.random.Generator) -> Population:
    """``count`` candidates at random from the better half."""
    half = np.argsort(population.scores, kind="stable")[: max(count, ceil(len(population) / 2))]
    return population.take(rng.permutation(half)[:count])


def as_picks(
    population: Population, origin: str, book: Book, unsure: Floats | None = None
) -> list[Pick]:
    """Single picks of a population."""
    spread = np.zeros(len(population)) if unsure is None else unsure
    return [
        Pick(int(owner), row[: len(book[int(owner)].tables)].copy(), float(score), origin, float(s))
        for owner, row, score, s in zip(
            population.owner, population.rows, population.scores, spread, strict=True
        )
    ]


def _within_limits(population: Population, count: int, options: PickOptions, book: Book) -> Ints:
    """Positions chosen greedily in order, each limit counted."""
    limits = (
        ceil(count * options.structure_share),
        ceil(count * options.tile_share),
        options.alike,
    )
    keys = _keys(population, book)
    used: Counter[tuple[int, ...]] = Counter()
    chosen: list[int] = []
    for position, key in enumerate(keys):
        if len(chosen) == count:
            break
        if all(used[k] < limit for k, limit in zip(key, limits, strict=True)):
            used.update(key)
            chosen.append(position)
    return np.array(chosen, dtype=np.int64)


def _keys(population: Population, book: Book) -> list[tuple[tuple[int, ...], ...]]:
    """Per candidate: its structure, its main tile, all its tiles."""
    main = np.zeros(len(population), dtype=np.int64)
    tiles = population.rows.copy()
    for number, index in population.groups():
        structure = book[number]
        fixed = [c for c, kind in enumerate(structure.kinds) if kind == "tile"]
        other = [c for c in range(tiles.shape[1]) if c not in fixed]
        for column in other:
            tiles[index, column] = 0
        if fixed:
            main[index] = population.rows[index, _main_site(structure, fixed)]
    alike = Population(population.owner, tiles, population.scores).codes()
    return [
        ((owner,), (owner, tile), (owner, tile, code))
        for owner, tile, code in zip(
            population.owner.tolist(), main.tolist(), alike.tolist(), strict=True
        )
    ]


def _main_site(structure: AbstractStructure, sites: list[int]) -> int:
    return max(sites, key=lambda column: len(structure.tables[column]))
