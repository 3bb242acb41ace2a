from __future__ import annotations

import pytest

from metasched.errors import ScheduleError
from metasched.schedule.samplers.site import Symbolic
from metasched.schedule.schedule import Schedule
from tests.core.schedule.programs import body, check, copy, dynamic, matmul


def test_innermost_spatial_loop() -> None:
    sch = Schedule(copy(4, 6))
    sch.vectorize(sch.get_loops(sch.get_block("b"))[1])
    assert "for i1 in vectorized(6):" in body(sch)
    check(sch)


def test_unit_loops_may_stand_inside() -> None:
    sch = Schedule(matmul(k=1))
    sch.vectorize(sch.get_loops(sch.get_block("c"))[1])
    check(sch)


def test_a_tile_that_is_still_a_symbol() -> None:
    sch = Schedule(copy(24), choices=Symbolic({}))
    (loop,) = sch.get_loops(sch.get_block("b"))
    _, inner = sch.split(loop, sch.sample_perfect_tile(loop, 2))
    sch.vectorize(inner)
    assert "for i0_1 in vectorized(t2_1):" in body(sch)


def test_requires_a_serial_loop() -> None:
    sch = Schedule(copy(4, 6))
    loop = sch.get_loops(sch.get_block("b"))[1]
    sch.vectorize(loop)
    with pytest.raises(ScheduleError, match="a serial loop, got 'i1', which is vectorized"):
        sch.vectorize(loop)


def test_requires_a_constant_extent() -> None:
    sch = Schedule(dynamic())
    (loop,) = sch.get_loops(sch.get_block("b"))
    with pytest.raises(ScheduleError, match="a constant extent, got the extent n, which depends"):
        sch.vectorize(loop)


def test_requires_an_innermost_loop() -> None:
    sch = Schedule(copy(4, 6))
    with pytest.raises(ScheduleError, match="an innermost loop, got one that holds loop 'i1'"):
        sch.vectorize(sch.get_loops(sch.get_block("b"))[0])


def test_requires_a_loop_for_spatial_iterations_only() -> None:
    sch = Schedule(matmul())
    with pytest.raises(ScheduleError, match="a loop for spatial iterations only, got block 'c'"):
        sch.vectorize(sch.get_loops(sch.get_block("c"))[2])
