"""Replay the space itself: each candidate is a run of a schedule function, with all its draws.

A function may take a way that its first runs did not take; such ways are found here only.
"""

from __future__ import annotations

from typing import final

from metasched.search.strategies.replay_trace import draw_each
from metasched.search.strategies.strategy import (
    STRATEGIES,
    AbstractStrategy,
    Context,
    Proposals,
    StrategySettings,
)


@final
class ReplayFunction(AbstractStrategy):
    """Candidates of fresh runs; spaces without a schedule function draw from their sketches."""

    def propose(self, context: Context, count: int) -> Proposals:
        """Run until there are enough."""
        structures, rng = context.structures, context.rng
        return draw_each(context, count, lambda: structures.rerun(rng), "replay_func")


def _make(settings: StrategySettings) -> AbstractStrategy:
    del settings
    return ReplayFunction()


STRATEGIES.register("replay_func", _make)
