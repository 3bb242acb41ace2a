from __future__ import annotations

import pytest

from metasched import te
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


def test_requires_a_loop_for_spatial_iterations_only_where_they_write_the_same() -> None:
    sch = Schedule(copy(4, 6))
    outer, _ = sch.get_loops(sch.get_block("b"))
    unit = sch.add_unit_loop(outer)
    sch.split(unit, [1, 3])
    repeated = sch.get_loops(sch.get_block("b"))[1]
    with pytest.raises(ScheduleError, match="which writes parts of 'b' in several iterations"):
        sch.parallel(repeated)


def overlapping_sums() -> Schedule:
    """Windows of three sums at a time, two apart, so that neighbouring tiles share one."""
    a = te.placeholder((9, 4), "float32", name="a")
    r = te.reduce_axis(4, name="r")
    s = te.compute((9,), lambda i: te.sum(a[i, r], axis=r), name="s")
    w = te.reduce_axis(3, name="w")
    t = te.compute((4,), lambda i: te.sum(s[i * 2 + w], axis=w), name="t")
    sch = Schedule(te.program([a, t], name="windows"))
    loop, _ = sch.get_loops(sch.get_block("t"))
    sch.compute_at(sch.get_block("s"), loop, preserve_unit_loops=True)
    return sch


def test_private_sums_may_overlap() -> None:
    sch = overlapping_sums()
    sch.parallel(sch.get_loops(sch.get_block("t"))[0])
    check(sch)


def test_a_fused_loop_of_a_reduction() -> None:
    sch = Schedule(matmul())
    i, j, _ = sch.get_loops(sch.get_block("c"))
    outer, _ = sch.split(sch.fuse(i, j), [4, 12])
    sch.parallel(outer)
    check(sch)
