from __future__ import annotations

import numpy as np
import pytest

from metasched.errors import ScheduleError
from metasched.schedule.samplers.site import Symbolic
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref
from tests.core.schedule.programs import check, dynamic, matmul


def loops(**sizes: int) -> tuple[Schedule, tuple[Ref, ...]]:
    sch = Schedule(matmul(**sizes), seed=0)
    return sch, sch.get_loops(sch.get_block("c"))


def test_factors_multiply_to_the_extent() -> None:
    sch, (i, _, _) = loops(m=48)
    for _ in range(20):
        factors = [sch.int_of(f) for f in sch.sample_perfect_tile(i, 3, max_innermost_factor=8)]
        assert np.prod(factors) == 48
        assert factors[-1] is not None
        assert factors[-1] <= 8


def test_symbolic_tiles_are_known_to_multiply() -> None:
    sch = Schedule(matmul(), choices=Symbolic({}))
    i, _, _ = sch.get_loops(sch.get_block("c"))
    sch.split(i, sch.sample_perfect_tile(i, 3))
    assert "where" not in str(sch.program)
    ((factors, extent),) = sch.state.tiles
    assert [str(f) for f in factors] == ["t2_0", "t2_1", "t2_2"]
    assert str(extent) == "8"


def test_a_drawn_tile_replays() -> None:
    sch, (i, _, _) = loops(m=48)
    sch.split(i, sch.sample_perfect_tile(i, 3))
    check(sch)


def test_requires_at_least_one_factor() -> None:
    sch, (i, _, _) = loops()
    with pytest.raises(ScheduleError, match="at least one factor, got n=0"):
        sch.sample_perfect_tile(i, 0)


def test_requires_a_loop_of_constant_extent() -> None:
    sch = Schedule(dynamic())
    (loop,) = sch.get_loops(sch.get_block("b"))
    with pytest.raises(ScheduleError, match="a loop of constant extent, got n of 'i'"):
        sch.sample_perfect_tile(loop, 2)


def test_requires_a_decision_that_is_legal_here() -> None:
    sch, (i, _, _) = loops()
    with pytest.raises(ScheduleError, match=r"legal here, got \(3, 3\) for PerfectTile"):
        sch.sample_perfect_tile(i, 2, decision=[3, 3])
