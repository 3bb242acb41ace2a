"""Rank correlation and recall against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from metasched.cost.accuracy import judge, spearman, top_recall


def test_spearman_with_ties() -> None:
    # ranks 1.5 1.5 3 4 against 1 2 3 4: covariance 4.5 of norms 4.5 and 5
    a, b = np.array([1.0, 1.0, 5.0, 9.0]), np.array([1.0, 2.0, 3.0, 4.0])
    assert spearman(a, b) == pytest.approx(4.5 / np.sqrt(4.5 * 5.0))
    assert spearman(b, -b) == -1.0
    assert spearman(np.zeros(4), b) == 0.0


def test_top_recall_counts_the_fast_quarter() -> None:
    measured = np.arange(8.0)
    predicted = np.array([0.0, 9, 1, 9, 9, 9, 9, 9])
    assert top_recall(predicted, measured) == 0.5


def test_judge_compares_within_tasks_only() -> None:
    tasks = ["a"] * 4 + ["b"] * 4
    measured = np.array([1.0, 2, 3, 4, 100, 200, 300, 400])
    predicted = np.array([5.0, 6, 7, 8, 1, 2, 3, 4])
    card = judge(tasks, predicted, measured)
    assert card is not None
    assert (card.count, card.spearman, card.top_recall) == (8, 1.0, 1.0)


def test_too_few_results_give_no_card() -> None:
    assert judge(["a", "a", "b"], np.arange(3.0), np.arange(3.0)) is None
