"""Replay: propose given traces, in their order; for measuring the records of another machine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import numpy as np

from metasched.search.population import Population
from metasched.search.strategies.picking import as_picks
from metasched.search.strategies.strategy import (
    STRATEGIES,
    AbstractStrategy,
    Context,
    Pick,
    Proposals,
    StrategySettings,
)
from metasched.trace.trace import Trace


@final
class Replay(AbstractStrategy):
    """The given traces that belong to the space and are valid, each once.

    Args:
        traces: Schedules before postprocessing, with all decisions.
    """

    def __init__(self, traces: Iterable[Trace]) -> None:
        self._traces = tuple(traces)

    def propose(self, context: Context, count: int) -> Proposals:
        """The next traces that were not proposed."""
        picks: list[Pick] = []
        foreign = 0
        for trace in self._traces:
            found = context.structures.of_trace(trace)
            if found is None:
                foreign += 1
                continue
            owner = np.array([context.book.number(found[0])])
            candidate = context.scorer.score(owner, found[1][None, :]).valid()
            if len(candidate) and not self._is_known(context, candidate, picks):
                picks += as_picks(candidate, "replay", context.book)
            if len(picks) == count:
                return Proposals(tuple(picks))
        return Proposals(
            tuple(picks),
            ""
            if picks
            else f"all {len(self._traces)} given traces are proposed, {foreign} of them "
            "left out because they belong to another space",
        )

    def _is_known(self, context: Context, candidate: Population, picks: list[Pick]) -> bool:
        row = candidate.rows[0]
        return bool(context.history.is_seen(candidate)[0]) or any(
            pick.owner == candidate.owner[0] and (pick.row == row).all() for pick in picks
        )


def _make(settings: StrategySettings) -> AbstractStrategy:
    return Replay(settings.traces)


STRATEGIES.register("replay", _make)
