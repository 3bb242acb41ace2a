from __future__ import annotations

from pathlib import Path

import pytest

from metasched import ops
from metasched.ir.parser import parse
from metasched.schedule.schedule import Schedule
from tests.core.schedule.primitives.compiled import check_compiled
from tests.core.schedule.primitives.stages import (
    check_valid,
    in_place,
    overlapping,
    producer,
    refuses,
    scores,
    tiled,
    twice_written,
)
from tests.core.schedule.programs import body, copy, dynamic, matmul

RULE = "a first block that makes, in each iteration of the loop, all that is used of the buffer"


def test_each_iteration_copies_its_tile() -> None:
    sch = Schedule(copy(12))
    block = sch.get_block("b")
    outer, _ = sch.split(sch.get_loops(block)[0], [3, 4])
    made = sch.write_at(outer, block, 0, "local")
    assert sch.value(made) == "b_local"
    assert body(sch) == (
        'b_local = alloc((12,), "float32", scope="local")\n'
        "for i0_0 in serial(3):\n"
        "    for i0_1 in serial(4):\n"
        '        with block("b"):\n'
        "            v_i0 = spatial(12, i0_0 * 4 + i0_1)\n"
        "            reads(a[v_i0])\n"
        "            writes(b_local[v_i0])\n"
        "            b_local[v_i0] = a[v_i0] + float32(1.0)\n"
        '    with block("b_local"):\n'
        "        v_i0_0 = spatial(3, i0_0)\n"
        "        reads(b_local[v_i0_0 * 4:v_i0_0 * 4 + 4])\n"
        "        writes(b[v_i0_0 * 4:v_i0_0 * 4 + 4])\n"
        '        annotations({"auto_copy": 1})\n'
        "        for ax0 in serial(4):\n"
        "            b[v_i0_0 * 4 + ax0] = b_local[v_i0_0 * 4 + ax0]\n"
    )
    check_valid(sch)


@pytest.mark.parametrize("n", [1, 10, 13])
def test_a_tile_over_the_edge_is_cut(n: int) -> None:
    sch = Schedule(copy(n))
    block = sch.get_block("b")
    outer, _ = sch.split(sch.get_loops(block)[0], [None, 4])
    sch.write_at(outer, block, "b", "local")
    assert f"v_i0_0 * 4 + ax0 < {n}:".removeprefix("v_i0_0 * 4 + " if n == 1 else "") in body(sch)
    check_valid(sch)


def test_only_what_the_block_writes_is_copied() -> None:
    program = parse(
        """@program
def part(a: Buffer((9,), "float32"), b: Buffer((9,), "float32")):
    for i in serial(9):
        with block("all"):
            v_i = spatial(9, i)
            reads(a[v_i])
            writes(b[v_i])
            b[v_i] = a[v_i]
    for j in serial(5):
        with block("part"):
            v_j = spatial(5, j)
            reads(a[v_j])
            writes(b[v_j + 1])
            b[v_j + 1] = a[v_j] * float32(2.0)
"""
    )
    sch = Schedule(program)
    block = sch.get_block("part")
    outer, _ = sch.split(sch.get_loops(block)[0], [None, 4])
    sch.write_at(outer, block, 0, "local")
    assert "if v_j_0 * 4 + 1 + ax0 < 6:" in body(sch)
    check_valid(sch)


def test_a_tile_of_a_reduction() -> None:
    sch = Schedule(matmul(5, 6, 7))
    block = sch.get_block("c")
    _, (j, _), _ = tiled(sch, block, [None, 2], [3, 2], [None, 3])
    sch.write_at(j, block, 0, "local")
    check_valid(sch)


def test_an_init_of_its_own_and_an_epilogue() -> None:
    sch = Schedule(scores(4, 6, 5))
    c, d = sch.get_block("c"), sch.get_block("d")
    i, j, _ = sch.get_loops(c)
    sch.reverse_compute_at(d, i)
    sch.decompose_reduction(c, j)
    sch.write_at(i, c, "c", "local")
    text = body(sch)
    assert "c_local[v_i_init, v_j_init] = float32(0.0)" in text
    assert "d[v_d_i, v_d_j] = max(c_local[v_d_i, v_d_j], float32(0.0))" in text
    assert text.index('block("c_local")') < text.index('block("d")')
    check_valid(sch)


def test_size_known_at_run_time() -> None:
    sch = Schedule(dynamic())
    block = sch.get_block("b")
    outer, _ = sch.split(sch.get_loops(block)[0], [None, 4])
    sch.write_at(outer, block, 0, "local")
    check_valid(sch, n=5)


@pytest.mark.cc
def test_a_convolution_compiled(tmp_path: Path) -> None:
    sch = Schedule(ops.conv2d(n=1, h=7, w=7, ci=3, co=5, k=3, s=2, p=1))
    block = sch.get_block("conv")
    parts = tiled(sch, block, *([None, 2] for _ in sch.get_loops(block)))
    sch.write_at(parts[3][0], block, 0, "local")
    sch.parallel(parts[1][0])
    check_valid(sch)
    check_compiled(sch, tmp_path)


def test_requires_a_known_storage_scope() -> None:
    sch = Schedule(copy(4))
    block = sch.get_block("b")
    with refuses(sch, "expected a known storage scope, got 'L1'"):
        sch.write_at(sch.get_loops(block)[0], block, 0, "L1")


def test_requires_an_index_or_the_name_of_a_buffer_that_the_block_writes() -> None:
    sch = Schedule(copy(4))
    block = sch.get_block("b")
    with refuses(sch, "an index or the name of a buffer that the block writes, got 'a' of b"):
        sch.write_at(sch.get_loops(block)[0], block, "a", "local")


def test_requires_a_loop_around_the_block_in_its_scope() -> None:
    sch = Schedule(scores())
    loop = sch.get_loops(sch.get_block("d"))[0]
    with refuses(sch, "a loop around the block in its scope, got 'd_i'"):
        sch.write_at(loop, sch.get_block("c"), 0, "local")


def test_requires_a_loop_that_is_not_vectorized() -> None:
    sch = Schedule(copy(4))
    block = sch.get_block("b")
    (loop,) = sch.get_loops(block)
    sch.vectorize(loop)
    with refuses(sch, "a loop that is not vectorized, got 'i0'"):
        sch.write_at(loop, block, 0, "local")


def test_requires_a_first_block_that_makes_in_each_iteration_of_the_loop_all() -> None:
    sch = Schedule(matmul())
    block = sch.get_block("c")
    k = sch.get_loops(block)[2]
    with refuses(sch, f"{RULE}, got 'c', which is still reducing over 'v_k' there"):
        sch.write_at(k, block, 0, "local")
    sch.decompose_reduction(block, k)
    with refuses(sch, f"{RULE}, got 'c', which reads 'c' first"):
        sch.write_at(k, block, 0, "local")
    sch = Schedule(in_place())
    block = sch.get_block("c")
    with refuses(sch, f"{RULE}, got 'c', which reads 'c' first"):
        sch.write_at(sch.get_loops(block)[0], block, 0, "local")


@pytest.mark.parametrize("where", ["i % 2 == 0", "i < 5"])
def test_requires_a_first_block_that_makes_in_each_iteration_unconditionally(
    where: str,
) -> None:
    program = producer("reads(a[v_i])", "writes(b[v_i])", "b[v_i] = a[v_i]", where=where)
    sch = Schedule(program)
    block = sch.get_block("b")
    with refuses(sch, f"{RULE}, got 'b', which runs only under a condition"):
        sch.write_at(sch.get_loops(block)[0], block, 0, "local")


def test_requires_a_first_block_that_makes_in_each_iteration_in_boxes() -> None:
    sch = Schedule(overlapping())
    block = sch.get_block("p")
    with refuses(sch, f"{RULE}, got 'p', which makes only a part of 'p' there"):
        sch.write_at(sch.get_loops(block)[0], block, 0, "local")


def test_a_half_that_another_nest_completes() -> None:
    sch = Schedule(twice_written())
    low = sch.get_block("low")
    sch.write_at(sch.get_loops(low)[0], low, 0, "local")
    check_valid(sch)
