from __future__ import annotations

import pytest

from metasched import ops
from metasched.errors import ScheduleError
from metasched.schedule.schedule import Schedule
from tests.core.schedule.programs import body, check, matmul, scan, triangle, two_stages


def order(sch: Schedule) -> list[str]:
    lines = (line.strip() for line in body(sch).splitlines())
    return [line.split()[1] for line in lines if line.startswith("for ")]


def test_all_loops_of_a_nest() -> None:
    sch = Schedule(matmul())
    i, j, k = sch.get_loops(sch.get_block("c"))
    sch.reorder(k, j, i)
    assert order(sch) == ["k", "j", "i"]
    check(sch)


def test_loops_that_are_not_listed_keep_their_place() -> None:
    sch = Schedule(matmul())
    i, _, k = sch.get_loops(sch.get_block("c"))
    sch.reorder(k, i)
    assert order(sch) == ["k", "j", "i"]
    check(sch)


def test_loops_keep_kind_and_annotations() -> None:
    sch = Schedule(matmul())
    i, j, _ = sch.get_loops(sch.get_block("c"))
    sch.annotate(j, "note", 1)
    sch.parallel(i)
    sch.reorder(j, i)
    assert 'for j in serial(6, {"note": 1}):' in body(sch)
    assert "for i in parallel(8):" in body(sch)
    check(sch)


def test_one_loop_is_fine() -> None:
    sch = Schedule(matmul())
    i, _, _ = sch.get_loops(sch.get_block("c"))
    sch.reorder(i)
    check(sch)


def test_requires_at_least_one_loop_and_none_twice() -> None:
    sch = Schedule(matmul())
    i, _, _ = sch.get_loops(sch.get_block("c"))
    for given in ([], [i, i]):
        with pytest.raises(ScheduleError, match="at least one loop and none twice"):
            sch.reorder(*given)


def test_requires_loops_of_one_chain() -> None:
    sch = Schedule(two_stages())
    first = sch.get_loops(sch.get_block("b"))
    second = sch.get_loops(sch.get_block("c"))
    with pytest.raises(ScheduleError, match="loops of one chain, got 'j', which is not around"):
        sch.reorder(second[1], first[1])


def test_requires_each_loop_of_the_chain_to_hold_nothing_but_the_next() -> None:
    sch = Schedule(two_stages())
    loops = sch.get_loops(sch.get_block("c"))
    sch.compute_at(sch.get_block("b"), loops[0])
    with pytest.raises(ScheduleError, match="hold nothing but the next, got 'c_i', which holds"):
        sch.reorder(loops[1], loops[0])


def test_requires_extents_that_do_not_depend_on_loops_further_inside() -> None:
    sch = Schedule(triangle())
    i, j = sch.get_loops(sch.get_block("b"))
    with pytest.raises(ScheduleError, match="do not depend on loops further inside, got i of 'j'"):
        sch.reorder(j, i)


def test_requires_no_block_with_opaque_iterations_below() -> None:
    sch = Schedule(scan())
    i, j = sch.get_loops(sch.get_block("b"))
    with pytest.raises(ScheduleError, match="no block with opaque iterations below, got block 'b'"):
        sch.reorder(j, i)


def test_requires_no_reduction_repeated_inside_its_reduce_loops() -> None:
    sch = Schedule(matmul())
    i, _, _ = sch.get_loops(sch.get_block("c"))
    again, _ = sch.split(sch.add_unit_loop(i), [3, 1])
    k = sch.get_loops(sch.get_block("c"))[-1]
    with pytest.raises(
        ScheduleError, match="no reduction repeated inside its reduce loops, got 'c', which runs"
    ):
        sch.reorder(k, again)


def test_fused_loops_go_inside_reduce_loops() -> None:
    sch = Schedule(matmul())
    i, j, k = sch.get_loops(sch.get_block("c"))
    i_0, i_1 = sch.split(i, [4, 2])
    j_0, j_1 = sch.split(j, [3, 2])
    sch.reorder(i_0, j_0, i_1, j_1, k)
    outer, inner = sch.fuse(i_0, j_0), sch.fuse(i_1, j_1)
    sch.reorder(k, inner)
    sch.reorder(k, outer)
    assert order(sch) == ["k", "i_0_j_0", "i_1_j_1"]
    check(sch)


def test_requires_reduce_loops_in_their_order_where_a_reduction_depends_on_it() -> None:
    sch = Schedule(ops.dense(m=3, n=4, k=8, bias=False, activation="relu"))
    block, *_ = sch.get_child_blocks(sch.get_block("root"))
    sch.fuse_reduction_epilogue(block, sch.get_consumers(block)[0])
    _, _, k = sch.get_loops(block)
    outer, inner = sch.split(k, [None, 3])
    rule = "expected reduce loops in their order where a reduction depends on it, got"
    with pytest.raises(ScheduleError, match=rule):
        sch.reorder(inner, outer)
    check(sch)
