"""How well a cost model ordered results it had not seen: rank correlation and top-k recall.

Both are averaged over tasks, since times are comparable within one task only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MIN_COUNT = 4
"""Fewer results of a task say nothing about an order."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How a model ordered new results before it learned from them.

    Attributes:
        count: How many results were judged.
        spearman: Rank correlation of predicted and measured time, -1 to 1.
        top_recall: Share of the fastest quarter that the predicted fastest quarter contains.
    """

    count: int
    spearman: float
    top_recall: float


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Rank correlation of two vectors; ties share their mean rank, a constant gives 0.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 21.0]))
    1.0
    """
    x, y = _ranks(a), _ranks(b)
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return round(float(x @ y) / norm, 12) if norm > 0 else 0.0


def top_recall(
    predicted: NDArray[np.float64], measured: NDArray[np.float64], share: float = 0.25
) -> float:
    """Share of the measured best that is among the predicted best, both ``share`` of all."""
    k = max(1, round(share * len(measured)))
    first = np.argsort(predicted, kind="stable")[:k]
    best = np.argsort(measured, kind="stable")[:k]
    return len(np.intersect1d(first, best)) / k


def judge(
    tasks: Sequence[str], predicted: NDArray[np.float64], measured: NDArray[np.float64]
) -> Accuracy | None:
    """Accuracy over several tasks, weighted by their results; None with too few results."""
    names = np.array(tasks, dtype=object)
    cards: list[Accuracy] = []
    for task in dict.fromkeys(tasks):
        p, m = predicted[names == task], measured[names == task]
        if len(m) >= _MIN_COUNT:
            cards.append(Accuracy(len(m), spearman(p, m), top_recall(p, m)))
    count = sum(card.count for card in cards)
    if not count:
        return None
    return Accuracy(
        count,
        sum(card.spearman * card.count for card in cards) / count,
        sum(card.top_recall * card.count for card in cards) / count,
    )


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]
