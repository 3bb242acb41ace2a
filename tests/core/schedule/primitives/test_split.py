from __future__ import annotations

import pytest

from metasched.errors import ScheduleError
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref
from tests.core.schedule.programs import body, check, copy, dynamic, matmul


def vector(n: int) -> tuple[Schedule, Ref]:
    sch = Schedule(copy(n))
    (loop,) = sch.get_loops(sch.get_block("b"))
    return sch, loop


def test_exact_split_needs_no_guard() -> None:
    sch, loop = vector(12)
    sch.split(loop, [3, 4])
    assert body(sch) == (
        "for i0_0 in serial(3):\n"
        "    for i0_1 in serial(4):\n"
        '        with block("b"):\n'
        "            v_i0 = spatial(12, i0_0 * 4 + i0_1)\n"
        "            reads(a[v_i0])\n"
        "            writes(b[v_i0])\n"
        "            b[v_i0] = a[v_i0] + float32(1.0)\n"
    )
    check(sch)


def test_surplus_iterations_are_guarded() -> None:
    sch, loop = vector(13)
    sch.split(loop, [None, 5])
    assert "where(i0_0 * 5 + i0_1 < 13)" in body(sch)
    assert "for i0_0 in serial(3):" in body(sch)
    check(sch)


def test_guards_of_nested_splits_add_up() -> None:
    sch, loop = vector(13)
    outer, inner = sch.split(loop, [None, 5])
    sch.split(inner, [2, 3])
    sch.split(outer, [2, 2])
    check(sch)


def test_a_proved_guard_goes() -> None:
    sch, loop = vector(13)
    outer, inner = sch.split(loop, [None, 5])
    fused = sch.fuse(outer, inner)
    sch.split(fused, [5, 3])
    check(sch)


def test_size_known_at_run_time() -> None:
    sch = Schedule(dynamic())
    (loop,) = sch.get_loops(sch.get_block("b"))
    sch.split(loop, [None, 4])
    assert "for i_0 in serial((n + 3) // 4):" in body(sch)
    assert "where(i_0 * 4 + i_1 < n)" in body(sch)
    check(sch, n=7)


def test_reduction_loop() -> None:
    sch = Schedule(matmul(3, 5, 7))
    for loop in sch.get_loops(sch.get_block("c")):
        sch.split(loop, [None, 2])
    check(sch)


def test_unit_factors_stay_in_the_bindings() -> None:
    sch, loop = vector(12)
    sch.split(loop, [1, 12, 1])
    assert "spatial(12, i0_0 * 12 + i0_1 + i0_2)" in body(sch)
    check(sch)


def test_a_handle_of_a_split_loop_is_gone() -> None:
    sch, loop = vector(12)
    sch.split(loop, [3, 4])
    with pytest.raises(ScheduleError, match="loop 'i0' is gone, split removed it"):
        sch.split(loop, [3, 4])


def test_requires_a_serial_loop_without_annotations() -> None:
    sch, loop = vector(12)
    sch.parallel(loop)
    with pytest.raises(ScheduleError, match="a serial loop without annotations, got 'i0', which"):
        sch.split(loop, [3, 4])


def test_requires_at_most_one_factor_none() -> None:
    sch, loop = vector(12)
    with pytest.raises(ScheduleError, match="at most one factor None"):
        sch.split(loop, [None, None])


def test_requires_every_factor_at_least_1() -> None:
    sch, loop = vector(12)
    with pytest.raises(ScheduleError, match="every factor at least 1, got 0"):
        sch.split(loop, [12, 0])


def test_requires_factors_that_cover_the_extent() -> None:
    sch, loop = vector(12)
    before = sch.program
    with pytest.raises(ScheduleError, match="factors that cover the extent 12, got a product of 9"):
        sch.split(loop, [3, 3])
    assert sch.program is before


def test_the_message_marks_the_loop() -> None:
    sch, loop = vector(12)
    with pytest.raises(ScheduleError, match=r"for i0 in serial\(12\):  # <--"):
        sch.split(loop, [3, 3])


def test_unit_loops_leave_the_bindings_if_wished() -> None:
    sch, loop = vector(12)
    sch.split(loop, [1, 12, 1], preserve_unit_iters=False)
    assert "spatial(12, i0_1)" in body(sch)
    check(sch)
