from __future__ import annotations

import pytest

from metasched.errors import ScheduleError
from metasched.schedule.schedule import Schedule
from tests.core.schedule.programs import body, check, copy, matmul, two_stages


def test_spatial_loop() -> None:
    sch = Schedule(matmul())
    sch.parallel(sch.get_loops(sch.get_block("c"))[0])
    assert "for i in parallel(8):" in body(sch)
    check(sch)


def test_a_reduce_loop_of_one_iteration_does_no_harm() -> None:
    sch = Schedule(matmul(k=1))
    sch.parallel(sch.get_loops(sch.get_block("c"))[2])
    check(sch)


def test_a_private_producer_may_be_computed_again() -> None:
    sch = Schedule(two_stages())
    i, j = sch.get_loops(sch.get_block("c"))
    sch.compute_at(sch.get_block("b"), i, preserve_unit_loops=True)
    sch.parallel(i)
    with pytest.raises(ScheduleError, match="no parallel loop around or inside"):
        sch.parallel(j)
    check(sch)


def test_requires_a_serial_loop() -> None:
    sch = Schedule(matmul())
    i, _, _ = sch.get_loops(sch.get_block("c"))
    sch.unroll(i)
    with pytest.raises(ScheduleError, match="a serial loop, got 'i', which is unrolled"):
        sch.parallel(i)


def test_requires_no_parallel_loop_around_or_inside() -> None:
    sch = Schedule(copy(4, 6))
    outer, inner = sch.get_loops(sch.get_block("b"))
    sch.parallel(inner)
    with pytest.raises(ScheduleError, match="no parallel loop around or inside, got 'i1'"):
        sch.parallel(outer)


def test_requires_a_loop_for_spatial_iterations_only() -> None:
    sch = Schedule(matmul())
    _, _, k = sch.get_loops(sch.get_block("c"))
    with pytest.raises(
        ScheduleError, match="spatial iterations only, got block 'c', whose reduce iteration 'v_k'"
    ):
        sch.parallel(k)


def test_requires_that_iterations_do_not_write_the_same_elements() -> None:
    sch = Schedule(copy(4, 6))
    outer, _ = sch.get_loops(sch.get_block("b"))
    unit = sch.add_unit_loop(outer)
    sch.split(unit, [1, 3])
    repeated = sch.get_loops(sch.get_block("b"))[1]
    with pytest.raises(ScheduleError, match="which writes the same part of 'b' in every iteration"):
        sch.parallel(repeated)
