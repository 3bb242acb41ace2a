from __future__ import annotations

from pathlib import Path

import pytest

from metasched import te
from metasched.ir.expr import Expr
from metasched.ir.stmt import Program
from metasched.schedule.schedule import Schedule
from tests.core.schedule.primitives.compiled import check_compiled
from tests.core.schedule.primitives.stages import (
    check_valid,
    in_place,
    nested,
    refuses,
    scores,
    window,
)
from tests.core.schedule.programs import body, copy, dynamic, matmul, triangle
from tests.core.schedule.steps.intrin import POINTS


def test_padded_copies_in_front_and_behind() -> None:
    sch = Schedule(matmul(7, 6, 5))
    sch.pad_einsum(sch.get_block("c"), [4, 1, 4])
    text = body(sch)
    assert text.startswith(
        'a_pad = alloc((8, 8), "float32")\n'
        'b_pad = alloc((8, 6), "float32")\n'
        'c_pad = alloc((8, 6), "float32")\n'
        "for ax0 in serial(8):\n"
        "    for ax1 in serial(8):\n"
        '        with block("a_pad"):\n'
        "            v_ax0 = spatial(8, ax0)\n"
        "            v_ax1 = spatial(8, ax1)\n"
        "            reads(a[v_ax0, v_ax1])\n"
        "            writes(a_pad[v_ax0, v_ax1])\n"
        "            a_pad[v_ax0, v_ax1] = "
        "if_then_else(v_ax0 < 7 and v_ax1 < 5, a[v_ax0, v_ax1], float32(0.0))\n"
    )
    assert text.endswith(
        "for i in serial(8):\n"
        "    for j in serial(6):\n"
        "        for k in serial(8):\n"
        '            with block("c"):\n'
        "                v_i = spatial(8, i)\n"
        "                v_j = spatial(6, j)\n"
        "                v_k = reduce(8, k)\n"
        "                reads(a_pad[v_i, v_k], b_pad[v_k, v_j])\n"
        "                writes(c_pad[v_i, v_j])\n"
        "                with init():\n"
        "                    c_pad[v_i, v_j] = float32(0.0)\n"
        "                c_pad[v_i, v_j] = c_pad[v_i, v_j] + a_pad[v_i, v_k] * b_pad[v_k, v_j]\n"
        "for ax0_2 in serial(7):\n"
        "    for ax1_2 in serial(6):\n"
        '        with block("c_pad"):\n'
        "            v_ax0_2 = spatial(7, ax0_2)\n"
        "            v_ax1_2 = spatial(6, ax1_2)\n"
        "            reads(c_pad[v_ax0_2, v_ax1_2])\n"
        "            writes(c[v_ax0_2, v_ax1_2])\n"
        "            c[v_ax0_2, v_ax1_2] = c_pad[v_ax0_2, v_ax1_2]\n"
    )
    check_valid(sch)


@pytest.mark.parametrize("sizes", [(7, 13, 5), (1, 1, 1), (8, 4, 16), (3, 8, 1)])
@pytest.mark.cc
def test_numbers(sizes: tuple[int, int, int], tmp_path: Path) -> None:
    sch = Schedule(matmul(*sizes))
    sch.pad_einsum(sch.get_block("c"), [4, 8, 3])
    check_valid(sch)
    check_compiled(sch, tmp_path)


def test_tiles_of_the_padded_loops_need_no_guards() -> None:
    sch = Schedule(matmul(7, 13, 5))
    block = sch.get_block("c")
    loops = sch.get_loops(block)
    sch.pad_einsum(block, [4, 4, 4])
    for loop in loops:
        sch.split(loop, [None, 4])
    assert "where" not in body(sch)
    check_valid(sch)


def test_two_stages_in_turn() -> None:
    sch = Schedule(scores(7, 6, 5))
    sch.pad_einsum(sch.get_block("c"), [4, 4, 4])
    sch.pad_einsum(sch.get_block("d"), [8, 4])
    check_valid(sch)


def test_multiples_stay_as_they_are() -> None:
    sch = Schedule(matmul(8, 4, 4))
    before = sch.program
    sch.pad_einsum(sch.get_block("c"), [4, 2, 1])
    assert sch.program == before


def attention(n: int = 5, d: int = 3) -> Program:
    """Products of all pairs of rows of one matrix, with a constant index and a scale."""
    a = te.placeholder((2, n, d), "float32", name="a")
    r = te.reduce_axis(d, name="r")
    c = te.compute((n, n), lambda i, j: te.sum(a[1, i, r] * 0.5 * a[1, j, r], axis=r), name="c")
    return te.program([a, c], name="attention")


def test_one_buffer_in_two_places() -> None:
    sch = Schedule(attention())
    sch.pad_einsum(sch.get_block("c"), [4, 4, 4])
    assert 'a_pad = alloc((1, 8, 4), "float32")' in body(sch)
    assert 'a_pad_1 = alloc((1, 8, 4), "float32")' in body(sch)
    check_valid(sch)


def test_what_lies_behind_the_last_element_is_not_read() -> None:
    a = te.placeholder((6, 9), "float32", name="a")
    r = te.reduce_axis(5, name="r")
    c = te.compute((6,), lambda i: te.sum(a[i, r], axis=r), name="c")
    sch = Schedule(te.program([a, c], name="part"))
    sch.pad_einsum(sch.get_block("c"), [1, 4])
    assert "if_then_else(v_ax1 < 5, a[v_ax0, v_ax1], float32(0.0))" in body(sch)
    check_valid(sch)


def test_size_known_at_run_time() -> None:
    sch = Schedule(dynamic())
    sch.pad_einsum(sch.get_block("b"), [4])
    assert "for i in serial((n + 3) // 4 * 4):" in body(sch)
    check_valid(sch, n=7)


def test_wide_accumulators() -> None:
    a = te.placeholder((3, 5), "int8", name="a")
    r = te.reduce_axis(5, name="r")
    c = te.compute(
        (3,),
        lambda i: te.sum(te.cast(a[i, r], "int32") * te.cast(a[i, r], "int32"), axis=r),
        name="c",
    )
    sch = Schedule(te.program([a, c], name="squares"))
    sch.pad_einsum(sch.get_block("c"), [4, 4])
    check_valid(sch)


def test_requires_a_complete_block_or_a_reduction() -> None:
    sch = Schedule(in_place())
    with refuses(sch, "expected a complete block or a reduction, got 'c', which reads what it"):
        sch.pad_einsum(sch.get_block("c"), [4])


def test_requires_loops_around_the_block_alone() -> None:
    sch = Schedule(scores())
    block = sch.get_block("d")
    sch.reverse_compute_at(block, sch.get_loops(sch.get_block("c"))[0])
    with refuses(sch, "expected loops around the block alone, got 'i', which holds more"):
        sch.pad_einsum(block, [4, 4])


def test_requires_a_loop_of_its_own_for_each_iteration() -> None:
    sch = Schedule(matmul(8, 8, 8))
    block = sch.get_block("c")
    sch.split(sch.get_loops(block)[0], [2, 4])
    with refuses(sch, "expected a loop of its own for each iteration, got 'v_i' bound to"):
        sch.pad_einsum(block, [16, 1, 1])


def test_requires_loops_of_fixed_extents() -> None:
    sch = Schedule(triangle())
    with refuses(sch, "expected loops of fixed extents, got i, which varies with 'i'"):
        sch.pad_einsum(sch.get_block("b"), [4, 4])


def test_requires_serial_loops_without_annotations() -> None:
    sch = Schedule(copy(5, 7))
    block = sch.get_block("b")
    sch.parallel(sch.get_loops(block)[0])
    with refuses(sch, "expected serial loops without annotations, got 'i0', which is parallel"):
        sch.pad_einsum(block, [4, 4])


@pytest.mark.parametrize("padding", [[4, 4], [4, 0, 4], []])
def test_requires_a_factor_of_at_least_1_for_each_iteration(padding: list[int]) -> None:
    sch = Schedule(matmul())
    with refuses(sch, f"expected a factor of at least 1 for each iteration, got {padding} for 3"):
        sch.pad_einsum(sch.get_block("c"), padding)


def test_requires_a_block_that_stores_one_value() -> None:
    sch = Schedule(nested())
    with refuses(sch, "expected a block that stores one value, got 'outer'"):
        sch.pad_einsum(sch.get_block("outer"), [4])


def test_requires_accesses_indexed_by_iterations_and_constants() -> None:
    sch = Schedule(window())
    with refuses(sch, "expected accesses indexed by iterations and constants, got p[v_c_i * 2 +"):
        sch.pad_einsum(sch.get_block("c"), [4, 4])


def test_guarded_accesses_may_run_over_the_edge() -> None:
    a = te.placeholder((5, 6), "float32", name="a")

    def at(i: Expr, j: Expr) -> Expr:
        return te.if_then_else(te.all(i < 5, j < 6), a[i, j], te.const(2.0))

    sch = Schedule(te.program([a, te.compute((7, 7), at, name="p")], name="edges"))
    sch.pad_einsum(sch.get_block("p"), [4, 1])
    assert "if_then_else(v_ax0 < 5 and v_ax1 < 6, a[v_ax0, v_ax1], float32(0.0))" in body(sch)
    check_valid(sch)


def test_requires_padded_spatial_iterations_that_index_the_result() -> None:
    sch = Schedule(matmul(3, 1, 4))
    block = sch.get_block("c")
    sch.transform_layout(block, "c", "i, j -> [i, 0]")
    with refuses(sch, "expected padded spatial iterations that index the result, got 'v_j', for"):
        sch.pad_einsum(block, [1, 4, 1])


def test_requires_no_division_by_what_is_loaded() -> None:
    a = te.placeholder((5,), "int32", name="a")
    b = te.compute((5,), lambda i: te.const(7, "int32") // a[i], name="b")
    sch = Schedule(te.program([a, b], name="ratio"))
    with refuses(sch, "expected no division by what is loaded, got int32(7) // a[v_i]"):
        sch.pad_einsum(sch.get_block("b"), [4])


@pytest.mark.parametrize("combine", ["max", "plus", "once"])
def test_requires_a_sum_of_products_of_what_all_padded_reduce_iterations_index(
    combine: str,
) -> None:
    a, w = te.placeholder((4, 5), "float32", name="a"), te.placeholder((4,), "float32", name="w")
    r = te.reduce_axis(5, name="r")
    terms = {
        "max": lambda i: te.max(a[i, r], axis=r),
        "plus": lambda i: te.sum(a[i, r] + 1.0, axis=r),
        "once": lambda i: te.sum(a[i, r] * w[i], axis=r),
    }  # fmt: skip
    c = te.compute((4,), terms[combine], name="c")
    sch = Schedule(te.program([a, w, c], name="other"))
    with refuses(sch, "expected a sum of products of what all padded reduce iterations index, got"):
        sch.pad_einsum(sch.get_block("c"), [1, 4])
    sch.pad_einsum(sch.get_block("c"), [8, 1])
    check_valid(sch)


def test_a_block_whose_init_is_a_block_stores_more_than_a_value() -> None:
    sch = Schedule(matmul())
    outer = sch.blockize([sch.get_block("c")])
    sch.tensorize(outer, POINTS[-1])
    with refuses(sch, "expected a block that stores one value, got"):
        sch.pad_einsum(outer, [4, 4, 4])
