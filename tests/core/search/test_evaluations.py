"""Remembered evaluations: the same numbers, each candidate evaluated once, memory bounded."""

from __future__ import annotations

import numpy as np
import pytest

from metasched.search.evaluations import Evaluations
from metasched.search.population import Book, sample_rows
from metasched.testing.fake_space import FakeSpace, FakeStructure


@pytest.fixture
def book() -> Book:
    rng, book = np.random.default_rng(0), Book()
    for structure in FakeSpace(sketches=2, locations=2).seed(rng, 3):
        book.number(structure)
    return book


def test_numbers_are_those_of_the_structure_whatever_was_asked_before(book: Book) -> None:
    rng, evaluations = np.random.default_rng(), Evaluations(book)
    for _ in range(6):
        number = int(rng.integers(len(book)))
        rows = sample_rows(book[number], 50, rng)[rng.integers(50, size=70)]
        found, expected = evaluations(number, rows), book[number].evaluate(rows)
        np.testing.assert_array_equal(found.features, expected.features)
        np.testing.assert_array_equal(found.prior_s, expected.prior_s)
        np.testing.assert_array_equal(found.valid, expected.valid)
    assert len(evaluations(0, rows[:0]).valid) == 0


def test_a_candidate_is_evaluated_once_until_it_is_forgotten(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    evaluate = FakeStructure.evaluate

    def counted(self: FakeStructure, rows: np.ndarray) -> object:
        asked.append(len(rows))
        return evaluate(self, rows)

    monkeypatch.setattr(FakeStructure, "evaluate", counted)
    rng, evaluations = np.random.default_rng(1), Evaluations(book, most=30)
    rows = np.unique(sample_rows(book[0], 20, rng), axis=0)
    evaluations(0, np.concatenate([rows, rows]))
    evaluations(0, rows[::-1])
    assert asked == [len(rows)]
    evaluations(1, np.unique(sample_rows(book[1], 20, rng), axis=0))
    evaluations(0, rows)
    assert asked[-1] == len(rows), "the older structure was forgotten"
