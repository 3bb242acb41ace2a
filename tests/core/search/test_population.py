"""Flat populations: codes, padding, enumeration and drawing."""

from __future__ import annotations

import numpy as np

from metasched.search.history import History
from metasched.search.population import (
    EMPTY,
    Book,
    Population,
    all_rows,
    join,
    sample_rows,
    space_size,
)
from metasched.testing.fake_space import FakeSpace


def population(owner: list[int], rows: list[list[int]]) -> Population:
    return Population(np.array(owner), np.array(rows), np.arange(len(owner), dtype=np.float64))


def test_codes_do_not_depend_on_padding_and_tell_structures_apart() -> None:
    narrow, wide = population([0, 1], [[1, 2], [1, 2]]), population([0, 1], [[1, 2, 0]] * 2)
    assert (narrow.codes() == wide.codes()).all()
    assert narrow.codes()[0] != narrow.codes()[1]


def test_codes_of_a_whole_space_are_distinct() -> None:
    space = FakeSpace(extents=((64, 4), (36, 4)))
    rows = [all_rows(structure) for structure in space.all.values()]
    owner = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
    whole = Population(owner, np.concatenate(rows), np.zeros(len(owner)))
    assert len(whole) == space.size()
    assert len(np.unique(whole.codes())) == len(whole)


def test_all_rows_are_the_product_of_the_tables() -> None:
    structure = FakeSpace(extents=((4, 2), (6, 2))).all[0, 0]
    rows = all_rows(structure)
    assert len(rows) == space_size(structure) == 3 * 4 * 4
    assert len({tuple(row) for row in rows.tolist()}) == len(rows)
    assert (rows.max(axis=0) == [2, 3, 3]).all()


def test_unique_keeps_the_first_and_the_order() -> None:
    found = population([1, 0, 1, 0], [[5, 5], [3, 3], [5, 5], [4, 4]]).unique()
    assert found.owner.tolist() == [1, 0, 0]
    assert found.rows.tolist() == [[5, 5], [3, 3], [4, 4]]


def test_join_pads_and_nothing_joins_to_nothing() -> None:
    joined = join([population([0], [[1]]), EMPTY, population([1], [[2, 3]])])
    assert joined.rows.tolist() == [[1, 0], [2, 3]]
    assert len(join([])) == 0


def test_samples_follow_the_probabilities() -> None:
    structure = FakeSpace().all[0, 0]
    object.__setattr__(structure, "probs", (*structure.probs[:-1], np.array([0.7, 0.3, 0, 0])))
    rows = sample_rows(structure, 1000, np.random.default_rng(0))
    assert abs((rows[:, -1] == 0).mean() - 0.7) < 0.05
    assert set(rows[:, -1].tolist()) == {0, 1}
    assert len(np.unique(rows[:, 0])) > 0.95 * len(structure.tables[0])


def test_book_numbers_by_key() -> None:
    book = Book()
    one, two = FakeSpace().all[0, 0], FakeSpace().all[0, 0]
    assert book.number(one) == book.number(two) == 0
    assert book[0] is one
    assert book.number(FakeSpace().all[0, 1]) == 1
    assert len(book) == 2


def test_history_remembers_marks_and_forgets_released_ones() -> None:
    history = History(Book())
    assert history.mark(0, np.array([1, 2]))
    assert not history.mark(0, np.array([1, 2]))
    seen = population([0, 0, 1], [[1, 2], [2, 1], [1, 2]])
    assert history.is_seen(seen).tolist() == [True, False, False]
    history.release(0, np.array([1, 2]))
    assert not history.is_seen(seen).any()


def test_history_best_leaves_failures_out() -> None:
    history = History(Book())
    for value, time_s in enumerate([3.0, None, 1.0, 2.0]):
        history.add(0, np.array([value]), time_s)
    best = history.best(2)
    assert best.rows.tolist() == [[2], [3]]
    np.testing.assert_allclose(best.scores, np.log([1.0, 2.0]))
