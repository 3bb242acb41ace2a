"""What every mutator promises, see `metasched.search.mutators.mutator.AbstractMutator`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from metasched.search.mutators import AbstractMutator, Mutated
from metasched.search.population import sample_rows
from metasched.search.problem import AbstractStructure, Ints
from metasched.testing.fake_space import FakeSpace


class MutatorContract:
    """Override ``make``."""

    @pytest.fixture
    def make(self) -> Callable[[], AbstractMutator]:
        """Return what makes a fresh mutator."""
        raise NotImplementedError("override the fixture `make`")

    @pytest.fixture
    def space(self) -> FakeSpace:
        """Return the space that is mutated in; override it for sites of other kinds."""
        return FakeSpace()

    def test_children_are_candidates(
        self, make: Callable[[], AbstractMutator], space: FakeSpace
    ) -> None:
        """One child for each row, within the tables of its structure; None without a change."""
        mutator = make()
        for structure in space.all.values():
            rows = _rows(structure, 64)
            for seed in range(4):
                mutated = mutator.mutate(structure, rows, space, np.random.default_rng(seed))
                if mutated is None:
                    continue
                child, changed = mutated
                assert changed.shape == (64, len(child.tables))
                assert np.issubdtype(changed.dtype, np.integer)
                sizes = np.array([len(table) for table in child.tables])
                assert ((changed >= 0) & (changed < sizes)).all()
                assert mutator.structural or child is structure

    def test_parents_stay_as_they_were(
        self, make: Callable[[], AbstractMutator], space: FakeSpace
    ) -> None:
        """The rows that it is given are not its own."""
        structure = next(iter(space.all.values()))
        rows = _rows(structure, 32)
        kept = rows.copy()
        make().mutate(structure, rows, space, np.random.default_rng(0))
        assert (rows == kept).all()

    def test_it_draws_from_the_generator_only(
        self, make: Callable[[], AbstractMutator], space: FakeSpace
    ) -> None:
        """Equal generators give equal children."""
        structure = next(iter(space.all.values()))
        first, second = (
            make().mutate(structure, _rows(structure, 32), space, np.random.default_rng(7))
            for _ in range(2)
        )
        assert _plain(first) == _plain(second)

    def test_a_structure_without_choices_is_left_alone(
        self, make: Callable[[], AbstractMutator]
    ) -> None:
        """There is nothing to change, and no failure either."""
        space = FakeSpace(extents=((1, 2),), sketches=1, locations=1)
        (structure,) = space.all.values()
        bare = type(structure)(structure.key, structure.tables[:1], space.valid, ("tile",), (None,))
        rows = np.zeros((4, 1), dtype=np.int64)
        mutated = make().mutate(bare, rows, space, np.random.default_rng(0))
        assert mutated is None or (mutated[1] == rows).all()


def _rows(structure: AbstractStructure, count: int) -> Ints:
    return sample_rows(structure, count, np.random.default_rng(1))


def _plain(mutated: Mutated | None) -> object:
    return None if mutated is None else (mutated[0].key, mutated[1].tolist())
