"""Droplet search: coordinate descent from the best measured candidates, after evolution.

As in "The Droplet Search Algorithm for Kernel Scheduling" (Canesche et al., ACM TACO 2024), all
candidates one step along one coordinate away from the best are measured; the best of them is next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from metasched.search.mutators.tile_size import tile_moves
from metasched.search.population import Population, padded
from metasched.search.problem import AbstractStructure, Ints
from metasched.search.strategies.evolutionary import Evolutionary, EvolutionOptions
from metasched.search.strategies.picking import as_picks
from metasched.search.strategies.strategy import (
    STRATEGIES,
    AbstractStrategy,
    Context,
    Proposals,
    StrategySettings,
)


@dataclass(frozen=True, slots=True)
class DropletOptions:
    """Settings.

    Attributes:
        after: Measured candidates before the descent begins.
        starts: From how many of the best it goes on, once those before are local optima.
    """

    after: int = 48
    starts: int = 3


@final
class Droplet(AbstractStrategy):
    """Another strategy until enough is measured, then the neighbours of the best.

    At a local optimum it goes on from the next best, then the other strategy takes over again.

    Args:
        before: The other strategy.
        options: Settings.
    """

    def __init__(self, before: AbstractStrategy, options: DropletOptions | None = None) -> None:
        self._before = before
        self._options = options or DropletOptions()

    def propose(self, context: Context, count: int) -> Proposals:
        """New neighbours of the best candidate that has some, the most promising first."""
        if len(context.history.measured) >= self._options.after:
            best = context.history.best(self._options.starts)
            for k in range(len(best)):
                near = self._near(context, int(best.owner[k]), best.rows[k])
                if len(near):
                    ordered = near.take(np.argsort(near.scores, kind="stable")[:count])
                    return Proposals(tuple(as_picks(ordered, "droplet", context.book)))
        return self._before.propose(context, count)

    def _near(self, context: Context, owner: int, row: Ints) -> Population:
        """The valid neighbours that were never proposed."""
        rows = neighbours(context.book[owner], row)
        near = context.scorer.score(np.full(len(rows), owner), padded(rows, 1)).valid()
        return near.take(~context.history.is_seen(near))


def neighbours(structure: AbstractStructure, row: Ints) -> Ints:
    """All candidates one step away at one site, ``(n, sites)``.

    A step moves a divisor between two factors of a tile, or takes the next value of a category.
    """
    found: list[Ints] = []
    for column, (table, kind) in enumerate(zip(structure.tables, structure.kinds, strict=True)):
        at = int(row[column])
        if kind == "tile":
            moves = tile_moves(table)
            values = np.unique(moves.targets[moves.starts[at] : moves.starts[at + 1]])
        else:
            values = np.array([v for v in (at - 1, at + 1) if 0 <= v < len(table)], np.int64)
        rows = np.tile(row[: len(structure.tables)], (len(values), 1))
        rows[:, column] = values
        found.append(rows)
    return np.concatenate([np.zeros((0, len(structure.tables)), np.int64), *found])


def _make(settings: StrategySettings) -> AbstractStrategy:
    evolution = Evolutionary(EvolutionOptions(settings.population), settings.mutators)
    return Droplet(evolution, DropletOptions(after=3 * settings.trials // 4))


STRATEGIES.register("droplet", _make)
