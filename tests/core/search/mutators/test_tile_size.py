"""Moving divisors: every move is one, none is missed, and populations move along them."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from metasched.schedule.samplers.site import factorisations
from metasched.search.mutators.tile_size import TileSize, tile_moves
from metasched.search.population import sample_rows
from metasched.testing.fake_space import FakeSpace


def neighbours_by_hand(table: np.ndarray, row: int) -> set[int]:
    """Rows reached by moving any divisor above 1 between any two positions."""
    index = {tuple(r): i for i, r in enumerate(table.tolist())}
    found: set[int] = set()
    for i, j in permutations(range(table.shape[1]), 2):
        for divisor in range(2, int(table[row, i]) + 1):
            if table[row, i] % divisor == 0:
                moved = table[row].tolist()
                moved[i] //= divisor
                moved[j] *= divisor
                found |= {index[tuple(moved)]} if tuple(moved) in index else set()
    return found


@pytest.mark.parametrize(
    ("extent", "n", "limit"), [(1, 3, 64), (7, 2, 64), (7, 2, 4), (24, 3, 4), (64, 4, 16)]
)
def test_moves_are_all_moves_within_the_table(extent: int, n: int, limit: int) -> None:
    table = factorisations(extent, n, limit)
    moves = tile_moves(table)
    for row in range(len(table)):
        reached = moves.targets[moves.starts[row] : moves.starts[row + 1]]
        assert len(set(reached.tolist())) == len(reached)
        assert set(reached.tolist()) == neighbours_by_hand(table, row)


def test_each_candidate_moves_at_one_or_two_sites() -> None:
    space = FakeSpace()
    structure = space.all[0, 0]
    rng = np.random.default_rng(0)
    rows = sample_rows(structure, 400, rng)
    before = rows.copy()
    result = TileSize().mutate(structure, rows, space, rng)
    assert result is not None
    changed = (result[1] != rows).sum(axis=1)
    assert (rows == before).all()
    assert set(changed.tolist()) <= {0, 1, 2}
    # a second step can only undo the first in rare cases
    assert (changed > 0).mean() > 0.98
    assert 0.1 < (changed == 2).mean() < 0.3
    assert (result[1][:, -1] == rows[:, -1]).all()


def test_without_a_movable_tile_there_is_nothing_to_do() -> None:
    space = FakeSpace(extents=((1, 4), (1, 2)))
    structure, rng = space.all[0, 0], np.random.default_rng(0)
    assert TileSize().mutate(structure, sample_rows(structure, 4, rng), space, rng) is None


def test_structures_do_not_share_moves() -> None:
    mutator, rng = TileSize(), np.random.default_rng(0)
    for extent in (64, 81):
        space = FakeSpace(extents=((extent, 2),))
        structure = space.all[0, 0]
        result = mutator.mutate(structure, sample_rows(structure, 50, rng), space, rng)
        assert result is not None
        assert result[1][:, 0].max() < len(structure.tables[0])
