from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metasched.errors import TraceError
from metasched.schedule.samplers.site import (
    AbstractSite,
    Categorical,
    ComputeLocation,
    Draw,
    PartitionedTile,
    PerfectTile,
    Replay,
    Symbolic,
    factorisations,
)

SITES: list[AbstractSite] = [
    PerfectTile(24, 3, 8),
    PerfectTile(7, 2, 4),
    PerfectTile(1, 1, 1),
    PerfectTile(7, 1, 4),
    PartitionedTile(24, 3, 1, 4),
    Categorical((3, 5), (0.25, 0.75)),
    ComputeLocation(4, lambda location: location != 2),
]


@pytest.mark.parametrize("site", SITES, ids=str)
def test_what_is_listed_is_what_is_legal(site: AbstractSite) -> None:
    listed = list(site.decisions())
    assert len(listed) == site.size() == len(set(listed))
    assert all(site.contains(decision) for decision in listed)
    assert not site.contains(99)
    assert not site.contains((99,))


@pytest.mark.parametrize("site", SITES, ids=str)
def test_every_decision_is_drawn_and_no_other(site: AbstractSite) -> None:
    rng = np.random.default_rng(0)
    drawn = {site.sample(rng) for _ in range(40 * site.size())}
    assert drawn == set(site.decisions())


@given(st.integers(1, 300), st.integers(1, 4), st.integers(1, 64))
def test_factorisations_are_all_ordered_products(extent: int, n: int, most: int) -> None:
    rows = [tuple(row) for row in factorisations(extent, n, most).tolist()]
    assert all(prod(row) == extent and (n == 1 or row[-1] <= most) for row in rows)
    divisors = [d for d in range(1, extent + 1) if extent % d == 0]
    if n == 2:
        assert rows == [(extent // d, d) for d in reversed(divisors) if d <= most]
    assert len(set(rows)) == len(rows)


def test_draws_are_reproducible() -> None:
    site = PerfectTile(1024, 4, 64)
    first, second = (Draw(np.random.default_rng(5)) for _ in range(2))
    assert [first.choose(0, site) for _ in range(5)] == [second.choose(0, site) for _ in range(5)]


def test_replay_checks_decisions() -> None:
    choices = Replay({0: (4, 6), 1: (5, 5)})
    assert choices.choose(0, PerfectTile(24, 2, 8)) == (4, 6)
    with pytest.raises(TraceError, match=r"instruction 1: decision \(5, 5\) is not legal"):
        choices.choose(1, PerfectTile(24, 2, 8))
    with pytest.raises(TraceError, match="instruction 2 needs a decision"):
        choices.choose(2, PerfectTile(24, 2, 8))


def test_symbolic_keeps_tiles_open() -> None:
    choices = Symbolic({0: (4, 6), 1: 1})
    assert choices.choose(0, PerfectTile(24, 2, 8)) is None
    assert choices.choose(1, Categorical((3, 5), (0.5, 0.5))) == 1
