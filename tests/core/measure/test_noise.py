from __future__ import annotations

from itertools import count, cycle

import pytest

from metasched.measure.noise import SAMPLES, NoiseFloor
from metasched.measure.timing import time_fixed_work


def test_steady_work_has_no_noise_and_wild_work_much() -> None:
    assert NoiseFloor(lambda: 2e-3)() == 0.0
    times = cycle((1.0, 3.0))
    assert NoiseFloor(lambda: next(times))() == pytest.approx(0.5)


def test_the_floor_holds_for_a_while_and_is_then_measured_again() -> None:
    calls, now = count(), [0.0]
    floor = NoiseFloor(lambda: float(next(calls) // 100 + 1), clock=lambda: now[0])
    floor()
    taken = next(calls)
    assert taken >= SAMPLES
    now[0] = 29.0
    floor()
    assert next(calls) == taken + 1
    now[0] = 31.0
    floor()
    assert next(calls) >= 2 * taken


@pytest.mark.cc
def test_the_fixed_work_takes_time() -> None:
    assert time_fixed_work() > 0
