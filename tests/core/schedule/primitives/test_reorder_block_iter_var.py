from __future__ import annotations

import pytest

from metasched.errors import ScheduleError
from metasched.schedule.schedule import Schedule
from tests.core.schedule.programs import body, check, copy, matmul


def test_variables_change_places_and_loops_do_not() -> None:
    sch = Schedule(matmul(3, 5, 7))
    sch.reorder_block_iter_var(sch.get_block("c"), [2, 1, 0])
    assert body(sch) == (
        "for i in serial(3):\n"
        "    for j in serial(5):\n"
        "        for k in serial(7):\n"
        '            with block("c"):\n'
        "                v_k = reduce(7, k)\n"
        "                v_j = spatial(5, j)\n"
        "                v_i = spatial(3, i)\n"
        "                reads(a[v_i, v_k], b[v_k, v_j])\n"
        "                writes(c[v_i, v_j])\n"
        "                with init():\n"
        "                    c[v_i, v_j] = float32(0.0)\n"
        "                c[v_i, v_j] = c[v_i, v_j] + a[v_i, v_k] * b[v_k, v_j]\n"
    )
    check(sch)


def test_later_primitives_follow_the_new_order() -> None:
    sch = Schedule(matmul(3, 5, 7))
    block = sch.get_block("c")
    sch.reorder_block_iter_var(block, [1, 2, 0])
    cache = sch.cache_write(block, 0, "local")
    sch.reverse_compute_at(cache, sch.get_loops(block)[0])
    sch.split(sch.get_loops(block)[2], [None, 2])
    check(sch)


def test_twice_is_the_identity() -> None:
    sch = Schedule(copy(1, 13))
    before = sch.program
    for _ in range(2):
        sch.reorder_block_iter_var(sch.get_block("b"), [1, 0])
    assert sch.program == before
    check(sch)


def test_a_single_variable_has_one_order() -> None:
    sch = Schedule(copy())
    sch.reorder_block_iter_var(sch.get_block("b"), [0])
    check(sch)


@pytest.mark.parametrize("order", [[], [0, 1], [0, 1, 1], [1, 2, 3], [-1, 0, 1], [0, 1, 2, 3]])
def test_requires_each_of_the_positions_exactly_once(order: list[int]) -> None:
    sch = Schedule(matmul())
    before = sch.state
    with pytest.raises(ScheduleError, match="each of the positions exactly once, got"):
        sch.reorder_block_iter_var(sch.get_block("c"), order)
    assert sch.state is before
