from __future__ import annotations

import pytest

from metasched.database import Trust
from metasched.database.agreement import from_source, own_samples, time_ratio
from metasched.testing.database_records import EVIDENCE, make_record


@pytest.mark.parametrize(
    ("old", "new", "ratio"),
    [
        ([1.0, 1.01, 0.99], [1.02, 1.0, 1.01], None),
        ([1.0, 1.0, 1.0], [1.04, 1.04, 1.04], None),  # apart, but within what machines differ by
        ([1.0, 2.0, 1.5], [2.5, 1.9, 2.2], None),  # the intervals meet
        ([1.0, 1.0, 1.0], [0.5, 0.5, 0.5], 0.5),
        ([1.0], [3.0], 3.0),
        ([], [1.0], None),
        ([0.0], [1.0], None),
    ],
)
def test_times_disagree_beyond_their_noise(
    old: list[float], new: list[float], ratio: float | None
) -> None:
    assert time_ratio(old, new) == ratio


def test_what_the_worker_cannot_tell_is_no_disagreement() -> None:
    old, new = [1.0] * 3, [1.2] * 3
    assert time_ratio(old, new, 0.1) == 1.2
    assert time_ratio(old, new, 0.25) is None


@pytest.mark.parametrize(("floor", "trust"), [(0.1, Trust.SUSPECT), (0.25, Trust.UNVERIFIED)])
def test_merging_honours_the_floor_of_the_noisier_store(floor: float, trust: Trust) -> None:
    here = make_record(samples_s=(1.0,) * 3)
    there = make_record(samples_s=(1.2,) * 3, evidence={**EVIDENCE, "noise_floor": floor})
    assert from_source(there, here, "theirs").record.trust is trust
    assert from_source(here, there, "theirs").record.trust is trust


def test_own_samples_are_those_of_no_source() -> None:
    record = make_record(samples_s=(1.0, 2.0, 1.0, 3.0), sources={"a": (1.0,), "b": (3.0,)})
    assert own_samples(record) == (2.0, 1.0)
