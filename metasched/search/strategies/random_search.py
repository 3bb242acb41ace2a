"""Random search: candidates drawn from the space, whatever the model says."""

from __future__ import annotations

from typing import final

from metasched.search.strategies.picking import as_picks
from metasched.search.strategies.sampling import draw_structures, sample_valid
from metasched.search.strategies.strategy import (
    STRATEGIES,
    AbstractStrategy,
    Context,
    Proposals,
    StrategySettings,
    refusals,
)

_EMPTY_ROUNDS = 5


@final
class RandomSearch(AbstractStrategy):
    """Valid candidates drawn from the distributions of the space, each once.

    Args:
        structures: How many structures are drawn at a time.
    """

    def __init__(self, structures: int = 8) -> None:
        self._structures = structures

    def propose(self, context: Context, count: int) -> Proposals:
        """Draw; several rounds if all candidates drawn were seen before."""
        for _ in range(_EMPTY_ROUNDS):
            owners = draw_structures(context, self._structures)
            drawn = sample_valid(context, owners, 4 * count).unique()
            fresh = drawn.take(~context.history.is_seen(drawn))
            if len(fresh):
                chosen = fresh.take(context.rng.permutation(len(fresh))[:count])
                return Proposals(tuple(as_picks(chosen, "random", context.book)))
        return Proposals((), no_more(context))


def no_more(context: Context) -> str:
    """Why a search found nothing new: nothing to draw from, nothing valid, or all proposed."""
    scorer, refused = context.scorer, refusals(context.structures.refused)
    if not len(context.book):
        return f"the space has no structure{refused}"
    if scorer.scored == scorer.invalid:
        return (
            f"none of {scorer.scored} candidates drawn from {len(context.book)} structures is "
            f"valid{refused}"
        )
    return (
        f"nothing new was found in {len(context.book)} structures; "
        f"{len(context.history)} candidates are proposed"
    )


def _make(settings: StrategySettings) -> AbstractStrategy:
    del settings
    return RandomSearch()


STRATEGIES.register("random", _make)
