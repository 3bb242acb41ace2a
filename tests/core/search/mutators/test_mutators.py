"""The other mutators, the registry, and a user's own mutator."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from metasched.cost.baselines import AnalyticModel
from metasched.errors import UsageError
from metasched.search.mutators import MUTATORS, AbstractMutator, Mutated, make_mutators
from metasched.search.mutators.compute_location import ComputeLocation
from metasched.search.mutators.parallel import Parallel
from metasched.search.mutators.unroll import Unroll
from metasched.search.population import sample_rows, transfer
from metasched.search.problem import AbstractStructure, AbstractStructureSet, Ints
from metasched.search.strategies.evolutionary import Evolutionary, EvolutionOptions
from metasched.search.tuner import Tuner
from metasched.testing.fake_space import LAYOUT, FakeSpace


def test_unroll_draws_another_value_by_the_probabilities() -> None:
    space, rng = FakeSpace(), np.random.default_rng(0)
    probs = (None, None, None, np.array([0.5, 0.0, 0.3, 0.2]))
    structure = replace(space.all[0, 0], probs=probs)
    rows = sample_rows(structure, 600, rng)
    rows[:, -1] = 0
    result = Unroll().mutate(structure, rows, space, rng)
    assert result is not None
    assert (result[1][:, :-1] == rows[:, :-1]).all()
    counts = np.bincount(result[1][:, -1], minlength=4) / 600
    np.testing.assert_allclose(counts, [0, 0, 0.6, 0.4], atol=0.06)


def test_a_value_without_alternative_stays() -> None:
    space, rng = FakeSpace(), np.random.default_rng(0)
    structure = replace(space.all[0, 0], probs=(None, None, None, np.array([1.0, 0.0, 0.0, 0.0])))
    rows = sample_rows(structure, 20, rng)
    result = Unroll().mutate(structure, rows, space, rng)
    assert result is not None
    assert (result[1] == rows).all()


def test_parallel_needs_a_site_of_its_kind() -> None:
    space, rng = FakeSpace(), np.random.default_rng(0)
    structure = space.all[0, 0]
    rows = sample_rows(structure, 20, rng)
    assert Parallel().mutate(structure, rows, space, rng) is None
    parallel = replace(structure, kinds=(*structure.kinds[:-1], "parallel"))
    result = Parallel().mutate(parallel, rows, space, rng)
    assert result is not None
    assert (result[1][:, -1] != rows[:, -1]).all()


def test_compute_location_moves_to_a_neighbour_and_keeps_tiles() -> None:
    space, rng = FakeSpace(), np.random.default_rng(0)
    structure = space.all[0, 1]
    rows = sample_rows(structure, 20, rng)
    result = ComputeLocation().mutate(structure, rows, space, rng)
    assert result is not None
    assert result[0].key in {(0, 0), (0, 2)}
    assert (result[1] == rows).all()


def test_compute_location_without_a_neighbour() -> None:
    space, rng = FakeSpace(sketches=1, locations=1), np.random.default_rng(0)
    structure = space.all[0, 0]
    rows = sample_rows(structure, 2, rng)
    assert ComputeLocation().mutate(structure, rows, space, rng) is None


def test_transfer_matches_sites_by_their_tables() -> None:
    rng = np.random.default_rng(0)
    source = FakeSpace(extents=((64, 4), (16, 2), (64, 4))).all[0, 0]
    target = FakeSpace(extents=((27, 2), (64, 4), (64, 4))).all[0, 0]
    rows = sample_rows(source, 30, rng)
    moved = transfer(source, rows, target, rng)
    assert (moved[:, 1:] == rows[:, [0, 2, 3]]).all()
    assert (moved < [len(table) for table in target.tables]).all()


class ToTheFirst(AbstractMutator):
    """A user's own mutator: the first decision everywhere."""

    calls: ClassVar[int] = 0

    def mutate(
        self,
        structure: AbstractStructure,
        rows: Ints,
        structures: AbstractStructureSet,
        rng: np.random.Generator,
    ) -> Mutated | None:
        type(self).calls += 1
        return structure, np.zeros_like(rows)


def test_a_users_own_mutator_takes_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MUTATORS._members, "to_the_first", ToTheFirst)
    strategy = Evolutionary(EvolutionOptions(population=64), (("to_the_first", 1.0),))
    tuner = Tuner(FakeSpace(), AnalyticModel(LAYOUT), strategy, seed=0)
    assert len(tuner.ask(4)) == 4
    assert ToTheFirst.calls > 0


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((("tile_sise", 1.0),), "did you mean 'tile_size'"),
        ((("tile_size", -1.0),), "weight -1.0; expected at least zero"),
        ((("tile_size", 0.0),), "no mutator has a weight above zero"),
    ],
)
def test_bad_weights_are_refused(weights: tuple[tuple[str, float], ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_mutators(weights)
