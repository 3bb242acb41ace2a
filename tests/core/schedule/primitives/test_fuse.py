from __future__ import annotations

import pytest

from metasched.errors import ScheduleError
from metasched.schedule.samplers.site import Symbolic
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref
from tests.core.schedule.programs import body, check, copy, matmul, triangle, two_stages


def nest(*shape: int) -> tuple[Schedule, tuple[Ref, ...]]:
    sch = Schedule(copy(*shape))
    return sch, sch.get_loops(sch.get_block("b"))


def test_bindings_take_the_fused_loop_apart() -> None:
    sch, loops = nest(4, 6)
    sch.fuse(*loops)
    assert body(sch) == (
        "for i0_i1 in serial(24):\n"
        '    with block("b"):\n'
        "        v_i0 = spatial(4, i0_i1 // 6)\n"
        "        v_i1 = spatial(6, i0_i1 % 6)\n"
        "        reads(a[v_i0, v_i1])\n"
        "        writes(b[v_i0, v_i1])\n"
        "        b[v_i0, v_i1] = a[v_i0, v_i1] + float32(1.0)\n"
    )
    check(sch)


def test_three_loops() -> None:
    sch, loops = nest(2, 3, 5)
    sch.fuse(*loops)
    check(sch)


def test_one_loop_stays() -> None:
    sch, loops = nest(4, 6)
    same = sch.fuse(loops[0])
    assert sch.get(same) is sch.get(loops[0])
    check(sch)


def test_split_undoes_fuse() -> None:
    sch, loops = nest(4, 6)
    outer, inner = sch.split(sch.fuse(*loops), [4, 6])
    assert "spatial(4, i0_i1_0)" in body(sch)
    assert "spatial(6, i0_i1_1)" in body(sch)
    assert sch.get(outer) is not sch.get(inner)
    check(sch)


def test_fuse_undoes_split() -> None:
    sch, loops = nest(24)
    sch.fuse(*sch.split(loops[0], [2, 3, 4]))
    assert "spatial(24, i0_0_i0_1_i0_2)" in body(sch)
    check(sch)


def test_fuse_undoes_a_split_by_symbols() -> None:
    sch = Schedule(copy(24), choices=Symbolic({}))
    (loop,) = sch.get_loops(sch.get_block("b"))
    sch.fuse(*sch.split(loop, sch.sample_perfect_tile(loop, 2)))
    assert "for i0_0_i0_1 in serial(t2_0 * t2_1):" in body(sch)
    assert "spatial(24, i0_0_i0_1)" in body(sch)


def test_reduce_loops() -> None:
    sch = Schedule(matmul())
    i, j, k = sch.get_loops(sch.get_block("c"))
    sch.fuse(sch.fuse(i, j), k)
    check(sch)


def test_requires_at_least_one_loop() -> None:
    sch, _ = nest(4, 6)
    with pytest.raises(ScheduleError, match="at least one loop"):
        sch.fuse()


def test_requires_serial_loops_without_annotations() -> None:
    sch, loops = nest(4, 6)
    sch.annotate(loops[1], "note", 1)
    with pytest.raises(
        ScheduleError, match="serial loops without annotations, got 'i1', which is annotated"
    ):
        sch.fuse(*loops)


def test_requires_each_loop_to_be_the_only_statement_in_the_one_before_it() -> None:
    sch, loops = nest(4, 6, 2)
    with pytest.raises(ScheduleError, match="the only statement in the one before it, got 'i2' af"):
        sch.fuse(loops[0], loops[2])
    stages = Schedule(two_stages())
    first = stages.get_loops(stages.get_block("b"))
    second = stages.get_loops(stages.get_block("c"))
    with pytest.raises(ScheduleError, match="the only statement in the one before it"):
        stages.fuse(first[0], second[1])


def test_requires_extents_that_do_not_depend_on_the_other_loops() -> None:
    sch = Schedule(triangle())
    with pytest.raises(
        ScheduleError, match="extents that do not depend on the other loops, got i "
    ):
        sch.fuse(*sch.get_loops(sch.get_block("b")))


@pytest.mark.parametrize(("keep", "binding"), [(True, "i0_i1"), (False, "0")])
def test_unit_loops_leave_the_bindings_if_wished(keep: bool, binding: str) -> None:
    sch = Schedule(copy(1, 1))
    sch.fuse(*sch.get_loops(sch.get_block("b")), preserve_unit_iters=keep)
    assert f"v_i0 = spatial(1, {binding})" in body(sch)
    check(sch)
