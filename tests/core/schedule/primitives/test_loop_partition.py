from __future__ import annotations

import pytest

from metasched import te
from metasched.errors import ScheduleError
from metasched.ir.parser import parse
from metasched.ir.stmt import Program
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref
from tests.core.schedule.programs import (
    body,
    check,
    copy,
    dynamic,
    matmul,
    scan,
    triangle,
    two_stages,
)


def vector(n: int) -> tuple[Schedule, Ref]:
    sch = Schedule(copy(n))
    (loop,) = sch.get_loops(sch.get_block("b"))
    return sch, loop


def loops(sch: Schedule, block: str) -> tuple[Ref, ...]:
    return sch.get_loops(sch.get_block(block))


def test_iterations_are_shared_out() -> None:
    sch, loop = vector(10)
    first, second = sch.loop_partition(loop, [4, None])
    assert body(sch) == (
        "for i0_0 in serial(4):\n"
        '    with block("b_0"):\n'
        "        v_i0_0 = spatial(10, i0_0)\n"
        "        reads(a[v_i0_0])\n"
        "        writes(b[v_i0_0])\n"
        "        b[v_i0_0] = a[v_i0_0] + float32(1.0)\n"
        "for i0_1 in serial(6):\n"
        '    with block("b_1"):\n'
        "        v_i0_1 = spatial(10, i0_1 + 4)\n"
        "        reads(a[v_i0_1])\n"
        "        writes(b[v_i0_1])\n"
        "        b[v_i0_1] = a[v_i0_1] + float32(1.0)\n"
    )
    sch.vectorize(first)
    sch.parallel(second)
    check(sch)


@pytest.mark.parametrize(
    ("factors", "sizes"),
    [
        ([4, 2], [4, 2, 7]),
        ([13], [13]),
        ([None], [13]),
        ([12, 1], [12, 1]),
        ([1, None, 1], [1, 11, 1]),
        ([None, 3, 4], [6, 3, 4]),
    ],
)
def test_what_is_left_is_a_loop_of_its_own(factors: list[int | None], sizes: list[int]) -> None:
    sch, loop = vector(13)
    sch.loop_partition(loop, factors)
    assert [f"for i0_{k} in serial({size}):" for k, size in enumerate(sizes)] == [
        line for line in body(sch).splitlines() if line.startswith("for")
    ]
    check(sch)


def test_a_partition_inside_a_nest_copies_the_loops_below() -> None:
    sch = Schedule(copy(1, 7, 5))
    middle = loops(sch, "b")[1]
    first, second, _ = sch.loop_partition(middle, [3, 1])
    (one,) = sch.get_child_blocks(first)
    sch.vectorize(sch.get_loops(one)[-1])
    sch.loop_partition(second, [1])
    check(sch)


def test_a_reduction_starts_in_the_first_copy_only() -> None:
    sch = Schedule(matmul(3, 5, 7))
    sch.loop_partition(loops(sch, "c")[2], [2, None])
    assert body(sch).count("with init():") == 1
    assert "c[v_i_1, v_j_1])\n" in body(sch)
    check(sch)


def test_split_and_fused_reduce_loops() -> None:
    sch = Schedule(matmul(3, 5, 8))
    sch.split(loops(sch, "c")[2], [4, 2])
    sch.loop_partition(loops(sch, "c")[3], [1])
    check(sch)


def test_spatial_copies_of_a_reduction_keep_their_inits() -> None:
    sch = Schedule(matmul(3, 5, 7))
    _, second = sch.loop_partition(loops(sch, "c")[0], [2])
    sch.loop_partition(second, [1])
    assert body(sch).count("with init():") == 2
    check(sch)


def test_several_blocks_and_their_caches() -> None:
    sch = Schedule(two_stages(6, 8))
    i = loops(sch, "c")[0]
    sch.compute_at(sch.get_block("b"), i)
    sch.loop_partition(i, [5])
    check(sch)


def test_buffers_inside_blocks_are_copied() -> None:
    sch = Schedule(matmul(4, 5, 6))
    outer = sch.blockize(loops(sch, "c")[1])
    sch.loop_partition(sch.get_loops(outer)[0], [1, 2])
    check(sch)


def test_unit_loops_stay_in_the_bindings_if_wished() -> None:
    for keep, binding in ((True, "i0_1 + 4"), (False, "4")):
        sch, loop = vector(5)
        sch.loop_partition(loop, [4], preserve_unit_iters=keep)
        assert f"spatial(5, {binding})" in body(sch)
        check(sch)


def test_a_guard_moves_along() -> None:
    sch, loop = vector(13)
    outer, _ = sch.split(loop, [None, 5])
    sch.loop_partition(outer, [2])
    assert "where(i0_0_1 * 5 + i0_1_1 + 10 < 13)" in body(sch)
    check(sch)


def test_a_size_that_is_known_to_be_large_enough() -> None:
    n = te.var("n")
    a = te.placeholder((n + 8,), "float32", name="a")
    b = te.compute((n + 8,), lambda i: a[i] + 1.0, name="b")
    sch = Schedule(te.program([a, b], name="padded"))
    sch.loop_partition(loops(sch, "b")[0], [8])
    check(sch, n=3)


def test_iterations_in_order() -> None:
    sch = Schedule(scan(4))
    sch.loop_partition(loops(sch, "b")[0], [1, None])
    check(sch)
    sch = Schedule(triangle())
    sch.loop_partition(loops(sch, "b")[0], [2])
    check(sch)


def test_what_was_in_the_loop_is_gone() -> None:
    sch, loop = vector(5)
    block = sch.get_block("b")
    sch.loop_partition(loop, [4])
    with pytest.raises(ScheduleError, match="block 'b' is gone, loop_partition removed it"):
        sch.get_loops(block)
    with pytest.raises(ScheduleError, match="loop 'i0' is gone, loop_partition removed it"):
        sch.unroll(loop)


def test_requires_a_serial_loop_without_annotations() -> None:
    sch, loop = vector(12)
    sch.annotate(loop, "note", 1)
    with pytest.raises(ScheduleError, match="a serial loop without annotations, got 'i0', which"):
        sch.loop_partition(loop, [3])


@pytest.mark.parametrize("factors", [[], [None, 2, None]])
def test_requires_at_least_one_factor_and_at_most_one_of_them_none(
    factors: list[int | None],
) -> None:
    sch, loop = vector(12)
    with pytest.raises(ScheduleError, match="at least one factor, and at most one of them None"):
        sch.loop_partition(loop, factors)


def test_requires_every_factor_at_least_1() -> None:
    sch, loop = vector(12)
    with pytest.raises(ScheduleError, match="every factor at least 1, got -3"):
        sch.loop_partition(loop, [-3, None])


@pytest.mark.parametrize("factors", [[13], [6, 7], [6, None, 6]])
def test_requires_factors_that_are_known_to_fit_the_extent(factors: list[int | None]) -> None:
    sch, loop = vector(12)
    state = sch.state
    with pytest.raises(ScheduleError, match="factors that are known to fit the extent 12, got a"):
        sch.loop_partition(loop, factors)
    assert sch.state is state


def test_requires_factors_that_are_known_to_fit_the_extent_at_run_time() -> None:
    sch = Schedule(dynamic())
    with pytest.raises(ScheduleError, match="known to fit the extent n, got a sum of 4"):
        sch.loop_partition(loops(sch, "b")[0], [4, None])


def test_requires_a_loop_that_drives_either_spatial_or_reduce_iterations() -> None:
    sch = Schedule(matmul(3, 5, 7))
    fused = sch.fuse(*loops(sch, "c")[1:])
    with pytest.raises(ScheduleError, match="got 'j_k', which drives both of block 'c'"):
        sch.loop_partition(fused, [7])


def test_requires_reduce_iterations_that_start_at_zero_and_run_once() -> None:
    sch = Schedule(backwards(5, 4))
    with pytest.raises(ScheduleError, match="start at zero and run once, got 'r', in which"):
        sch.loop_partition(loops(sch, "c")[1], [2])


def backwards(m: int, k: int) -> Program:
    """Row sums whose reduction starts with the last column."""
    a = te.placeholder((m, k), "float32", name="a")
    r = te.reduce_axis(k, name="r")
    c = te.compute((m,), lambda i: te.sum(a[i, r], axis=r), name="c")
    text = str(te.program([a, c], name="rows")).replace(
        f"reduce({k}, r)", f"reduce({k}, {k - 1} - r)"
    )
    return parse(text)
