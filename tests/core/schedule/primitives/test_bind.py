from __future__ import annotations

import pytest

from metasched.errors import CodegenError, ScheduleError
from metasched.ir.dtype import FLOAT32
from metasched.ir.expr import Buffer, Load, Var, const
from metasched.ir.parser import parse
from metasched.ir.stmt import Block, For, IterVar, Program, Region, Store
from metasched.ir.threads import THREAD_AXES
from metasched.ir.verify import verify
from metasched.lower.pipeline import lower
from metasched.schedule.schedule import Schedule
from metasched.target import Target
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


def loops(sch: Schedule, block: str) -> tuple[Ref, ...]:
    return sch.get_loops(sch.get_block(block))


def test_a_kernel() -> None:
    sch = Schedule(copy(8, 1))
    outer, inner = loops(sch, "b")
    sch.bind(outer, "blockIdx.x")
    sch.bind(inner, "threadIdx.x")
    assert body(sch) == (
        'for i0 in thread(8, axis="blockIdx.x"):\n'
        '    for i1 in thread(1, axis="threadIdx.x"):\n'
        '        with block("b"):\n'
        "            v_i0 = spatial(8, i0)\n"
        "            v_i1 = spatial(1, i1)\n"
        "            reads(a[v_i0, v_i1])\n"
        "            writes(b[v_i0, v_i1])\n"
        "            b[v_i0, v_i1] = a[v_i0, v_i1] + float32(1.0)\n"
    )
    assert parse(str(sch.program)) == sch.program
    check(sch)


@pytest.mark.parametrize("axis", THREAD_AXES)
def test_every_axis(axis: str) -> None:
    sch = Schedule(copy(13))
    sch.bind(loops(sch, "b")[0], axis)
    assert f'axis="{axis}"' in body(sch)
    check(sch)


def test_threads_share_out_the_filling_of_a_shared_cache() -> None:
    sch = Schedule(matmul(12, 4, 6))
    block = sch.get_block("c")
    i, _, k = loops(sch, "c")
    grid, lanes = sch.split(i, [3, 4])
    sch.bind(grid, "blockIdx.x")
    sch.bind(lanes, "threadIdx.x")
    steps, _ = sch.split(k, [2, 3])
    sch.reorder(steps, loops(sch, "c")[2])
    cache = sch.cache_read(block, 1, "shared")
    sch.compute_at(cache, steps)
    filled = sch.fuse(*sch.get_loops(cache)[-2:])
    _, inner = sch.split(filled, [None, 4])
    sch.bind(inner, "threadIdx.x")
    assert body(sch).count('thread(4, axis="threadIdx.x")') == 2
    check(sch)


def test_sizes_known_at_run_time() -> None:
    sch = Schedule(dynamic())
    grid, lanes = sch.split(loops(sch, "b")[0], [None, 4])
    sch.bind(grid, "blockIdx.x")
    sch.bind(lanes, "threadIdx.x")
    check(sch, n=7)


def test_a_reduction_across_threads() -> None:
    sch = Schedule(matmul(3, 5, 7))
    i, _, k = loops(sch, "c")
    sch.bind(i, "blockIdx.x")
    sch.bind(k, "threadIdx.x")
    check(sch)


def test_each_kernel_has_extents_of_its_own() -> None:
    sch = Schedule(two_stages(6, 8))
    sch.bind(loops(sch, "b")[0], "threadIdx.x")
    sch.bind(loops(sch, "c")[1], "threadIdx.x")
    check(sch)


def test_cpus_refuse_bound_loops() -> None:
    sch = Schedule(copy(1))
    sch.bind(loops(sch, "b")[0], "vthread")
    with pytest.raises(CodegenError, match="'i0' is bound to 'vthread', which a CPU does not have"):
        lower(sch.program, Target("cpu"))


def test_requires_a_thread_axis() -> None:
    sch = Schedule(matmul())
    with pytest.raises(ScheduleError, match=r"a thread axis, got 'threadIdx.w'; did you mean"):
        sch.bind(loops(sch, "c")[0], "threadIdx.w")


def test_requires_a_serial_loop() -> None:
    sch = Schedule(matmul())
    i = loops(sch, "c")[0]
    sch.bind(i, "blockIdx.x")
    with pytest.raises(ScheduleError, match="a serial loop, got 'i', which is thread"):
        sch.bind(i, "blockIdx.y")


def test_requires_affine_bindings_of_the_loop() -> None:
    sch = Schedule(products())
    with pytest.raises(ScheduleError, match=r"affine bindings of the loop, got i \* j, to which"):
        sch.bind(loops(sch, "b")[0], "threadIdx.x")


def products() -> Program:
    """A block whose iteration is bound to a product of loops: not affine."""
    i, j, v = Var("i"), Var("j"), Var("v")
    a, b = (Buffer(name, (const(7),), FLOAT32) for name in "ab")
    iters = (IterVar(v, const(7), "spatial", i * j),)
    one = ((v, const(1)),)
    store = Store(b, (v,), Load(a, (v,)))
    block = Block("b", iters, (Region(a, one),), (Region(b, one),), store)
    nest = For(i, const(3), For(j, const(4), block))
    program = Program("products", (a, b), Block("root", (), (), (), nest))
    verify(program)
    return program


@pytest.mark.parametrize("axis", ["blockIdx.x", "vthread.x"])
def test_requires_a_loop_for_spatial_iterations_only(axis: str) -> None:
    sch = Schedule(matmul())
    with pytest.raises(ScheduleError, match="spatial iterations only, got block 'c', whose reduce"):
        sch.bind(loops(sch, "c")[2], axis)


def test_requires_a_loop_for_spatial_iterations_only_or_reduce_ones_of_a_reduction() -> None:
    sch = Schedule(matmul())
    k = loops(sch, "c")[2]
    sch.decompose_reduction(sch.get_block("c"), k)
    with pytest.raises(ScheduleError, match="reduce iterations of a reduction, got 'c', which has"):
        sch.bind(k, "threadIdx.x")


def test_requires_a_loop_for_spatial_iterations_only_or_reduce_ones_only() -> None:
    sch = Schedule(matmul())
    fused = sch.fuse(*loops(sch, "c")[1:])
    with pytest.raises(ScheduleError, match="reduce iterations of a reduction, got block 'c', who"):
        sch.bind(fused, "threadIdx.x")


def test_requires_a_loop_for_spatial_iterations_only_and_no_opaque_ones() -> None:
    sch = Schedule(scan())
    with pytest.raises(ScheduleError, match="whose opaque iteration 'v_i' it drives"):
        sch.bind(loops(sch, "b")[0], "threadIdx.x")


def test_requires_an_extent_that_is_known_when_the_kernel_starts() -> None:
    sch = Schedule(triangle())
    message = "known when the kernel starts, got i of 'j', which depends on 'i'"
    with pytest.raises(ScheduleError, match=message):
        sch.bind(loops(sch, "b")[1], "threadIdx.x")


def test_requires_one_extent_of_all_loops_on_an_axis_in_a_kernel() -> None:
    sch = Schedule(two_stages(6, 8))
    i, _ = loops(sch, "c")
    sch.compute_at(sch.get_block("b"), i)
    sch.bind(i, "blockIdx.x")
    produced, consumed = loops(sch, "b")[1], loops(sch, "c")[1]
    sch.bind(sch.split(produced, [2, 4])[1], "threadIdx.x")
    state = sch.state
    message = "one extent of all loops on an axis in a kernel, got 8 of 'c_j' and 4 of"
    with pytest.raises(ScheduleError, match=message):
        sch.bind(consumed, "threadIdx.x")
    assert sch.state is state
    sch.bind(sch.split(consumed, [2, 4])[1], "threadIdx.x")
    check(sch)


def test_requires_no_loop_inside_another_of_the_same_axis_but_to_share_out_what_is_used() -> None:
    sch = Schedule(copy(4, 4))
    outer, inner = loops(sch, "b")
    sch.bind(outer, "threadIdx.x")
    with pytest.raises(ScheduleError, match=r"'i0' on threadIdx.x, which block 'b' uses"):
        sch.bind(inner, "threadIdx.x")


@pytest.mark.parametrize(
    ("scope", "axis", "given"),
    [
        ("local", "threadIdx.x", "where each thread writes a 'b_local' of its own"),
        ("shared", "blockIdx.x", ""),
        ("shared", "vthread.x", ""),
    ],
)
def test_requires_no_loop_inside_another_of_the_same_axis_but_to_share_out(
    scope: str, axis: str, given: str
) -> None:
    sch = Schedule(matmul(4, 6, 4))
    i = loops(sch, "c")[0]
    cache = sch.cache_read(sch.get_block("c"), 1, scope)
    sch.compute_at(cache, i)
    sch.bind(i, axis)
    filled = sch.get_loops(cache)[1]
    with pytest.raises(ScheduleError, match=f"of the same axis.*on {axis}.*{given}"):
        sch.bind(filled, axis)


def test_other_primitives_keep_bound_loops_together() -> None:
    sch = Schedule(copy(1))
    (inner,) = loops(sch, "b")
    outer = sch.add_unit_loop(inner)
    sch.bind(outer, "threadIdx.x")
    sch.bind(inner, "threadIdx.x")
    check(sch)
    state = sch.state
    message = "reorder: expected no loop inside another of the same axis"
    with pytest.raises(ScheduleError, match=message):
        sch.reorder(inner, outer)
    assert sch.state is state
