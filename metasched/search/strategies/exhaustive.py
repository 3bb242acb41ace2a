"""Exhaustive search: every valid candidate of a small space, the most promising first."""

from __future__ import annotations

from typing import final

import numpy as np

from metasched.search.population import (
    Population,
    all_rows,
    join,
    space_size,
)
from metasched.search.strategies.picking import as_picks
from metasched.search.strategies.random_search import no_more
from metasched.search.strategies.sampling import draw_structures
from metasched.search.strategies.strategy import (
    STRATEGIES,
    AbstractStrategy,
    Context,
    Proposals,
    StrategySettings,
)

_QUIET_DRAWS = 2
"""So many draws in a row without a new structure end the enumeration of structures."""
_MOST_DRAWS = 64


@final
class Exhaustive(AbstractStrategy):
    """All candidates, in order of their predicted time.

    Args:
        limit: The largest space that is enumerated, in candidates.
    """

    def __init__(self, limit: int = 16384) -> None:
        self._limit = limit
        self._all: Population | None = None

    def propose(self, context: Context, count: int) -> Proposals:
        """The best candidates that were not proposed."""
        if self._all is None:
            numbers = find_structures(context, self._limit)
            size = total_size(context)
            if size > self._limit:
                return Proposals(
                    (),
                    f"the space holds at least {size} candidates and exhaustive search takes "
                    f"at most {self._limit}; use another strategy or a larger limit",
                )
            self._all = join([_whole(context, number) for number in numbers])
        left = self._all.take(~context.history.is_seen(self._all))
        left = context.scorer.score(left.owner, left.rows).valid()
        if not len(left):
            return Proposals((), no_more(context))
        best = left.take(np.argsort(left.scores, kind="stable")[:count])
        return Proposals(tuple(as_picks(best, "exhaustive", context.book)))


def find_structures(context: Context, limit: int) -> list[int]:
    """Numbers of the structures of a space: those known, and drawn until nothing new comes.

    Ends early once the structures found hold more than ``limit`` candidates.
    """
    quiet = 0
    for _ in range(_MOST_DRAWS):
        before = len(context.book)
        if quiet == _QUIET_DRAWS or total_size(context) > limit:
            break
        draw_structures(context, before + 2)
        quiet = quiet + 1 if len(context.book) == before else 0
    return list(range(len(context.book)))


def total_size(context: Context) -> int:
    """How many candidates the structures found so far hold, valid or not."""
    return sum(space_size(context.book[number]) for number in range(len(context.book)))


def _whole(context: Context, number: int) -> Population:
    rows = all_rows(context.book[number])
    owner = np.full(len(rows), number, dtype=np.int64)
    return Population(owner, rows, np.zeros(len(rows)))


def _make(settings: StrategySettings) -> AbstractStrategy:
    del settings
    return Exhaustive()


STRATEGIES.register("exhaustive", _make)
