from __future__ import annotations

import pytest

from metasched.database.agreement import own_samples, time_ratio
from metasched.testing.database_records import make_record


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


def test_own_samples_are_those_of_no_source() -> None:
    record = make_record(samples_s=(1.0, 2.0, 1.0, 3.0), sources={"a": (1.0,), "b": (3.0,)})
    assert own_samples(record) == (2.0, 1.0)
