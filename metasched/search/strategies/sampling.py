"""Fresh candidates: structures and decisions drawn from the distributions of the space."""

from __future__ import annotations

import numpy as np

from metasched.search.population import EMPTY, Population, join, sample_rows
from metasched.search.strategies.strategy import Context

_ATTEMPTS = 4


def draw_structures(context: Context, count: int) -> list[int]:
    """Numbers of up to ``count`` distinct structures drawn from the space."""
    drawn = context.structures.seed(context.rng, count)
    return [context.book.number(structure) for structure in drawn]


def sample_valid(context: Context, owners: list[int], count: int) -> Population:
    """Up to ``count`` valid candidates, spread evenly over the given structures, with scores.

    Structures that gave no valid candidate are not tried again; few attempts are made.
    """
    found: list[Population] = []
    missing, alive = count, list(dict.fromkeys(owners))
    for _ in range(_ATTEMPTS):
        if missing <= 0 or not alive:
            break
        drawn = sample(context, alive, missing)
        drawn = context.scorer.score(drawn.owner, drawn.rows).valid()
        found.append(drawn)
        missing -= len(drawn)
        alive = [int(owner) for owner in np.unique(drawn.owner)]
    return join(found).take(np.arange(count - max(missing, 0))) if found else EMPTY


def sample(context: Context, owners: list[int], count: int) -> Population:
    """``count`` candidates spread evenly over the given structures, not scored yet."""
    parts: list[Population] = []
    for k, number in enumerate(owners):
        share = count // len(owners) + (k < count % len(owners))
        rows = sample_rows(context.book[number], share, context.rng)
        parts.append(Population(np.full(share, number), rows, np.full(share, np.inf)))
    return join(parts)
