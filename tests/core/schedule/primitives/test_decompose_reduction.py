from __future__ import annotations

import pytest

from metasched import ops, te
from metasched.ir.parser import parse
from metasched.schedule.schedule import Schedule
from tests.core.schedule.primitives.stages import check_valid, refuses, row_sums, tiled
from tests.core.schedule.programs import body, matmul, two_stages


def test_the_init_becomes_a_block() -> None:
    sch = Schedule(matmul(4, 6, 5))
    block = sch.get_block("c")
    i, j, k = sch.get_loops(block)
    sch.reorder(i, k, j)
    sch.decompose_reduction(block, k)
    assert body(sch) == (
        "for i in serial(4):\n"
        "    for j_init in serial(6):\n"
        '        with block("c_init"):\n'
        "            v_i_init = spatial(4, i)\n"
        "            v_j_init = spatial(6, j_init)\n"
        "            writes(c[v_i_init, v_j_init])\n"
        "            c[v_i_init, v_j_init] = float32(0.0)\n"
        "    for k in serial(5):\n"
        "        for j in serial(6):\n"
        '            with block("c"):\n'
        "                v_i = spatial(4, i)\n"
        "                v_j = spatial(6, j)\n"
        "                v_k = reduce(5, k)\n"
        "                reads(a[v_i, v_k], b[v_k, v_j], c[v_i, v_j])\n"
        "                writes(c[v_i, v_j])\n"
        "                c[v_i, v_j] = c[v_i, v_j] + a[v_i, v_k] * b[v_k, v_j]\n"
    )
    check_valid(sch)


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_every_level_with_guards(level: int) -> None:
    sch = Schedule(matmul(5, 7, 6))
    block = sch.get_block("c")
    (i, _), (j, _), (k, _) = tiled(sch, block, [None, 2], [None, 3], [None, 4])
    sch.decompose_reduction(block, (i, j, k, k)[level])
    check_valid(sch)


def test_loops_keep_their_kind() -> None:
    sch = Schedule(matmul(4, 6, 5))
    block = sch.get_block("c")
    i, j, k = sch.get_loops(block)
    sch.reorder(i, k, j)
    sch.vectorize(j)
    sch.decompose_reduction(block, k)
    assert "for j_init in vectorized(6):" in body(sch)
    check_valid(sch)


def test_a_fused_and_split_reduction() -> None:
    sch = Schedule(ops.norm(b=2, m=3, n=5))
    block = sch.get_block("s")
    _, i, j = sch.get_loops(block)
    outer, _ = sch.split(sch.fuse(i, j), [None, 4])
    sch.decompose_reduction(block, outer)
    check_valid(sch)


def test_two_accumulators() -> None:
    sch = Schedule(ops.argmax(m=3, n=5))
    (block,) = sch.get_child_blocks(sch.get_block("root"))
    sch.decompose_reduction(block, sch.get_loops(block)[1])
    check_valid(sch)


def test_requires_a_reduction_block() -> None:
    sch = Schedule(two_stages())
    block = sch.get_block("b")
    with refuses(sch, "expected a reduction block, got 'b', which has no init"):
        sch.decompose_reduction(block, sch.get_loops(block)[0])
    sch = Schedule(matmul())
    block = sch.get_block("c")
    loop = sch.get_loops(block)[2]
    sch.decompose_reduction(block, loop)
    with refuses(sch, "expected a reduction block, got 'c', which has no init"):
        sch.decompose_reduction(block, loop)


def test_requires_a_loop_around_the_block() -> None:
    sch = Schedule(row_sums())
    with refuses(sch, "expected a loop around the block, got 'd_i'"):
        sch.decompose_reduction(sch.get_block("s"), sch.get_loops(sch.get_block("d"))[0])


def test_requires_a_loop_around_all_reduce_loops_of_the_block() -> None:
    sch = Schedule(matmul())
    block = sch.get_block("c")
    i, _, k = sch.get_loops(block)
    sch.reorder(k, i)
    with refuses(sch, "a loop around all reduce loops of the block, got 'i' inside 'k'"):
        sch.decompose_reduction(block, i)


def test_requires_loops_that_drive_either_spatial_or_reduce_iterations() -> None:
    sch = Schedule(row_sums(4, 9))
    block = sch.get_block("s")
    loops = sch.get_loops(block)
    fused = sch.fuse(*loops)
    rule = "loops that drive either spatial or reduce iterations, got 'i_k', which drives both"
    with refuses(sch, rule):
        sch.decompose_reduction(block, fused)


def test_requires_reduce_iterations_that_start_at_zero() -> None:
    text = str(row_sums(4, 5)).replace("reduce(5, k)", "reduce(5, 4 - k)")
    sch = Schedule(parse(text))
    block = sch.get_block("s")
    with refuses(sch, "reduce iterations that start at zero, got 'v_k' bound to 4 - k"):
        sch.decompose_reduction(block, sch.get_loops(block)[0])


def test_requires_loops_that_run_each_iteration_of_the_block_once() -> None:
    sch = Schedule(row_sums(4, 5))
    block = sch.get_block("s")
    i, j = sch.get_loops(sch.get_block("d"))
    sch.compute_at(block, j)
    rule = "loops that run each iteration of the block once, got 'd_i', in which 's' is computed"
    with refuses(sch, rule):
        sch.decompose_reduction(block, i)
    sch.decompose_reduction(block, sch.get_loops(block)[2])
    check_valid(sch)


def test_requires_loops_that_run_each_iteration_of_the_block_once_in_tiles() -> None:
    a = te.placeholder((9, 4), "float32", name="a")
    k = te.reduce_axis(4, name="k")
    s = te.compute((9,), lambda i: te.sum(a[i, k], axis=k), name="s")
    d = te.compute((8,), lambda i: s[i] + s[i + 1], name="d")
    sch = Schedule(te.program([a, d]))
    block = sch.get_block("s")
    outer, _ = sch.split(sch.get_loops(sch.get_block("d"))[0], [2, 4])
    sch.compute_at(block, outer)
    with refuses(sch, "loops that run each iteration of the block once"):
        sch.decompose_reduction(block, outer)
    sch.decompose_reduction(block, sch.get_loops(block)[1])
    check_valid(sch)


def test_reduce_loops_of_extent_1_may_stand_outside() -> None:
    sch = Schedule(matmul(4, 6, 5))
    block = sch.get_block("c")
    i, j, k = sch.get_loops(block)
    unit, inner = sch.split(k, [1, 5])
    sch.reorder(unit, i, j, inner)
    sch.decompose_reduction(block, i)
    check_valid(sch)
