from __future__ import annotations

from pathlib import Path

import pytest

from metasched import ops, te
from metasched.schedule.schedule import Schedule
from metasched.testing.round_trip import check_symbolic_replay
from tests.core.schedule.primitives.compiled import check_compiled
from tests.core.schedule.primitives.stages import (
    chain,
    check_valid,
    nested,
    refuses,
    row_sums,
    scores,
    tiled,
    window,
)
from tests.core.schedule.programs import body, copy, dynamic, matmul


def test_each_iteration_copies_its_tile() -> None:
    sch = Schedule(copy(12))
    block = sch.get_block("b")
    outer, _ = sch.split(sch.get_loops(block)[0], [3, 4])
    made = sch.read_at(outer, block, 0, "shared")
    assert sch.value(made) == "a_shared"
    assert body(sch) == (
        'a_shared = alloc((12,), "float32", scope="shared")\n'
        "for i0_0 in serial(3):\n"
        '    with block("a_shared"):\n'
        "        v_i0_0 = spatial(3, i0_0)\n"
        "        reads(a[v_i0_0 * 4:v_i0_0 * 4 + 4])\n"
        "        writes(a_shared[v_i0_0 * 4:v_i0_0 * 4 + 4])\n"
        '        annotations({"auto_copy": 1})\n'
        "        for ax0 in serial(4):\n"
        "            a_shared[v_i0_0 * 4 + ax0] = a[v_i0_0 * 4 + ax0]\n"
        "    for i0_1 in serial(4):\n"
        '        with block("b"):\n'
        "            v_i0 = spatial(12, i0_0 * 4 + i0_1)\n"
        "            reads(a_shared[v_i0])\n"
        "            writes(b[v_i0])\n"
        "            b[v_i0] = a_shared[v_i0] + float32(1.0)\n"
    )
    check_valid(sch)


@pytest.mark.parametrize("n", [1, 10, 13])
def test_a_tile_over_the_edge_is_cut(n: int) -> None:
    sch = Schedule(copy(n))
    block = sch.get_block("b")
    outer, _ = sch.split(sch.get_loops(block)[0], [None, 4])
    sch.read_at(outer, block, "a", "local")
    assert f"v_i0_0 * 4 + ax0 < {n}:".removeprefix("v_i0_0 * 4 + " if n == 1 else "") in body(sch)
    check_valid(sch)


def test_a_window_reaches_over_both_edges() -> None:
    sch = Schedule(window(7))
    sch.compute_inline(sch.get_block("p"))
    block = sch.get_block("c")
    sch.read_at(sch.get_loops(block)[0], block, 0, "local")
    assert "if 0 <= v_c_i_1 * 2 - 1 + ax0 and v_c_i_1 * 2 - 1 + ax0 < 7:" in body(sch)
    check_valid(sch)


def test_tiles_of_both_operands_at_different_loops() -> None:
    sch = Schedule(matmul(5, 6, 7))
    block = sch.get_block("c")
    _, (j, _), (k, _) = tiled(sch, block, [None, 2], [3, 2], [None, 3])
    sch.read_at(k, block, 0, "local")
    sch.read_at(j, block, 1, "local")
    check_valid(sch)


def test_all_readers_under_the_loop_read_the_cache() -> None:
    sch = Schedule(chain(6))
    c, d = sch.get_block("c"), sch.get_block("d")
    (loop,) = sch.get_loops(d)
    sch.compute_at(c, loop)
    sch.read_at(loop, c, "b", "local")
    text = body(sch)
    assert "c[v_c_i] = b_local[v_c_i] * float32(2.0)" in text
    assert "d[v_d_i] = c[v_d_i] - b_local[v_d_i]" in text
    check_valid(sch)


def test_a_part_that_was_made_in_the_same_iteration() -> None:
    sch = Schedule(row_sums(3, 5))
    d = sch.get_block("d")
    outer, _ = sch.get_loops(d)
    sch.compute_at(sch.get_block("s"), outer)
    sch.read_at(outer, d, "s", "local")
    assert body(sch).index('block("s")') < body(sch).index('block("s_local")')
    check_valid(sch)


def test_a_block_with_a_block_inside() -> None:
    sch = Schedule(nested())
    outer = sch.get_block("outer")
    sch.read_at(sch.get_loops(outer)[0], outer, "b", "local")
    assert "c[v_o * 4 + v_x] = b_local[v_o * 4 + v_x] * float32(2.0)" in body(sch)
    check_valid(sch)


def test_an_index_that_depends_on_data_needs_the_whole_dimension() -> None:
    a = te.placeholder((6, 8), "float32", name="a")
    b = te.compute((12, 8), lambda i, j: a[i // 4 + i % 4, j], name="b")
    sch = Schedule(te.program([a, b]))
    block = sch.get_block("b")
    sch.cache_index(block, "global")
    loop = sch.get_loops(block)[0]
    sch.read_at(loop, block, "a", "local")
    sch.read_at(loop, block, "index", "local")
    check_valid(sch)


def test_size_known_at_run_time() -> None:
    sch = Schedule(dynamic())
    block = sch.get_block("b")
    outer, _ = sch.split(sch.get_loops(block)[0], [None, 4])
    sch.read_at(outer, block, 0, "local")
    check_valid(sch, n=5)


def test_tiles_as_symbols() -> None:
    sch = Schedule(matmul(6, 8, 4))
    block = sch.get_block("c")
    parts = [sch.split(x, sch.sample_perfect_tile(x, 2, 64)) for x in sch.get_loops(block)]
    sch.reorder(*(p[0] for p in parts), *(p[1] for p in parts))
    sch.read_at(parts[2][0], block, 0, "local")
    sch.read_at(parts[1][0], block, 1, "local")
    sch.write_at(parts[1][0], block, 0, "local")
    check_valid(sch)
    check_symbolic_replay(sch)


@pytest.mark.cc
def test_a_convolution_compiled(tmp_path: Path) -> None:
    sch = Schedule(ops.conv2d(n=1, h=7, w=7, ci=3, co=5, k=3, s=2, p=1))
    block = sch.get_block("conv")
    parts = tiled(sch, block, *([None, 2] for _ in sch.get_loops(block)))
    sch.compute_inline(sch.get_producers(block)[0])
    sch.read_at(parts[3][0], block, 0, "shared")
    sch.read_at(parts[6][0], block, 1, "shared")
    sch.parallel(parts[1][0])
    check_valid(sch)
    check_compiled(sch, tmp_path)


def test_requires_a_known_storage_scope() -> None:
    sch = Schedule(copy(4))
    block = sch.get_block("b")
    with refuses(sch, "expected a known storage scope, got 'L1'"):
        sch.read_at(sch.get_loops(block)[0], block, 0, "L1")


def test_requires_an_index_or_the_name_of_a_buffer_that_the_block_reads() -> None:
    sch = Schedule(copy(4))
    block = sch.get_block("b")
    with refuses(sch, "an index or the name of a buffer that the block reads, got 1 of 1"):
        sch.read_at(sch.get_loops(block)[0], block, 1, "local")


def test_requires_a_loop_around_the_block_in_its_scope() -> None:
    rule = "a loop around the block in its scope, got "
    sch = Schedule(scores())
    c, d = sch.get_block("c"), sch.get_block("d")
    with refuses(sch, rule + "'d_i'"):
        sch.read_at(sch.get_loops(d)[0], c, 0, "local")
    sch = Schedule(nested())
    with refuses(sch, rule + "'o'"):
        sch.read_at(sch.get_loops(sch.get_block("outer"))[0], sch.get_block("c"), 0, "local")


def test_requires_a_loop_that_is_not_vectorized() -> None:
    sch = Schedule(copy(4))
    block = sch.get_block("b")
    (loop,) = sch.get_loops(block)
    sch.vectorize(loop)
    with refuses(sch, "a loop that is not vectorized, got 'i0'"):
        sch.read_at(loop, block, 0, "local")


def test_requires_a_buffer_that_is_finished_before_the_first_statement_in_the_loop() -> None:
    rule = "a buffer that is finished before the first statement in the loop that reads it, got "
    sch = Schedule(matmul())
    block = sch.get_block("c")
    _, j, k = sch.get_loops(block)
    sch.decompose_reduction(block, k)
    with refuses(sch, rule + "'c' written by 'c'"):
        sch.read_at(j, block, "c", "local")
    sch = Schedule(scores())
    d = sch.get_block("d")
    outer, inner = sch.get_loops(sch.get_block("c"))[:2]
    sch.reverse_compute_at(d, inner)
    with refuses(sch, rule + "'c' written by 'c'"):
        sch.read_at(outer, d, "c", "local")
