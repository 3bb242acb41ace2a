"""Replay sketches: each candidate is a sketch of the space with all its decisions drawn anew.

Neither model nor history has a say, which makes it the plain baseline of other strategies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, final

import numpy as np

from metasched.search.population import Population, join, sample_rows
from metasched.search.problem import AbstractStructure, Ints
from metasched.search.strategies.picking import as_picks
from metasched.search.strategies.random_search import no_more
from metasched.search.strategies.strategy import (
    STRATEGIES,
    AbstractStrategy,
    Context,
    Proposals,
    StrategySettings,
)

Drawn: TypeAlias = "tuple[AbstractStructure, Ints] | None"
_ATTEMPTS = 8
"""Draws for each candidate that is asked for; some are not valid or not new."""


@final
class ReplayTrace(AbstractStrategy):
    """Candidates drawn one by one, each from a sketch drawn for it."""

    def propose(self, context: Context, count: int) -> Proposals:
        """Draw until there are enough."""
        return draw_each(context, count, lambda: _draw(context), "replay_trace")


def draw_each(context: Context, count: int, draw: Callable[[], Drawn], origin: str) -> Proposals:
    """Valid new candidates of single draws, with a bounded number of attempts."""
    found: list[Population] = []
    for _ in range(_ATTEMPTS * count):
        if len(found) == count:
            break
        drawn = draw()
        if drawn is None:
            continue
        owner = np.array([context.book.number(drawn[0])])
        one = context.scorer.score(owner, drawn[1][None, :]).valid()
        fresh = one.take(~context.history.is_seen(one))
        if len(fresh) and len(join([*found, fresh]).unique()) > len(found):
            found.append(fresh)
    if not found:
        return Proposals((), no_more(context))
    return Proposals(tuple(as_picks(join(found), origin, context.book)))


def _draw(context: Context) -> Drawn:
    structures = context.structures.seed(context.rng, 1)
    if not structures:
        return None
    return structures[0], sample_rows(structures[0], 1, context.rng)[0]


def _make(settings: StrategySettings) -> AbstractStrategy:
    del settings
    return ReplayTrace()


STRATEGIES.register("replay_trace", _make)
