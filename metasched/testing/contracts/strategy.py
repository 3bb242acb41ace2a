"""What every search strategy promises, see `metasched.search.strategies.AbstractStrategy`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from metasched.cost.baselines import AnalyticModel
from metasched.search.records import Candidate
from metasched.search.strategies import AbstractStrategy
from metasched.search.tuner import Tuner
from metasched.testing.fake_space import LAYOUT, FakeSpace, measure


class StrategyContract:
    """Override ``make``."""

    @pytest.fixture
    def make(self) -> Callable[[], AbstractStrategy]:
        """Return what makes a fresh strategy."""
        raise NotImplementedError("override the fixture `make`")

    def test_it_proposes_valid_candidates_once(self, make: Callable[[], AbstractStrategy]) -> None:
        """Over many rounds with results in between."""
        space = FakeSpace(extents=((64, 3), (32, 2)), valid=lambda rows: rows[:, 0] % 3 != 1)
        asked = _drive(Tuner(space, AnalyticModel(LAYOUT), make(), seed=0), rounds=8)
        keys = [_key(candidate) for candidate in asked]
        assert len(set(keys)) == len(keys)
        assert all(candidate.row[0] % 3 != 1 for candidate in asked)

    def test_it_is_a_function_of_the_seed(self, make: Callable[[], AbstractStrategy]) -> None:
        """Equal seeds and results give equal proposals."""
        first, second = (
            _drive(Tuner(FakeSpace(), AnalyticModel(LAYOUT), make(), seed=5), rounds=4)
            for _ in range(2)
        )
        assert [_key(c) for c in first] == [_key(c) for c in second]

    def test_a_small_space_ends_with_a_reason(self, make: Callable[[], AbstractStrategy]) -> None:
        """It stops when everything is proposed, or when it finds nothing more."""
        space = FakeSpace(extents=((4, 2),), sketches=1, locations=2)
        tuner = Tuner(space, AnalyticModel(LAYOUT), make(), seed=0)
        asked = _drive(tuner, rounds=200)
        assert len(asked) <= space.size()
        assert tuner.end

    def test_a_space_without_candidates_ends_with_a_reason(
        self, make: Callable[[], AbstractStrategy]
    ) -> None:
        """With nothing valid, and with no structure at all."""
        for space in (
            FakeSpace(valid=lambda rows: np.zeros(len(rows), dtype=np.bool_)),
            FakeSpace(sketches=0, refused={"block c is gone": 2}),
        ):
            tuner = Tuner(space, AnalyticModel(LAYOUT), make(), seed=0)
            assert tuner.ask(4) == ()
            assert tuner.end

    def test_it_needs_no_results_to_go_on(self, make: Callable[[], AbstractStrategy]) -> None:
        """Builders and runners may lag behind by any number of candidates."""
        tuner = Tuner(FakeSpace(), AnalyticModel(LAYOUT), make(), seed=0)
        counts = [len(tuner.ask(7)) for _ in range(6)]
        assert all(a >= b for a, b in pairwise(counts)), "fewer come only at the end"


def _drive(tuner: Tuner, rounds: int) -> list[Candidate]:
    asked: list[Candidate] = []
    for _ in range(rounds):
        new = tuner.ask(6)
        if not new:
            break
        asked += new
        tuner.tell(measure(new))
    return asked


def _key(candidate: Candidate) -> tuple[object, ...]:
    return candidate.structure.key, tuple(candidate.row.tolist())
