from __future__ import annotations

from pathlib import Path

import pytest

from metasched import te
from metasched.ir.expr import Expr
from metasched.ir.parser import parse
from metasched.schedule.schedule import Schedule
from tests.core.schedule.primitives.compiled import check_compiled
from tests.core.schedule.primitives.stages import check_valid, nested, refuses
from tests.core.schedule.programs import body, copy, dynamic, matmul, scan, triangle


def flat(i: Expr, j: Expr) -> Expr:
    return i * 8 + j


def test_a_block_over_one_flat_iteration() -> None:
    sch = Schedule(copy(4, 8))
    sch.transform_block_layout(sch.get_block("b"), flat)
    assert body(sch) == (
        "for ax0 in serial(32):\n"
        '    with block("b"):\n'
        "        v_ax0 = spatial(32, ax0)\n"
        "        reads(a[v_ax0 // 8, v_ax0 % 8])\n"
        "        writes(b[v_ax0 // 8, v_ax0 % 8])\n"
        "        b[v_ax0 // 8, v_ax0 % 8] = a[v_ax0 // 8, v_ax0 % 8] + float32(1.0)\n"
    )
    assert "'i, j -> [i * 8 + j]'" in sch.trace.as_python().replace('"', "'")
    check_valid(sch)


@pytest.mark.parametrize("sizes", [(3, 5, 8), (1, 1, 4), (7, 1, 4), (2, 3, 12)])
@pytest.mark.cc
def test_a_reduction_in_tiles(sizes: tuple[int, int, int], tmp_path: Path) -> None:
    sch = Schedule(matmul(*sizes))
    sch.transform_block_layout(sch.get_block("c"), "i, j, k -> [j, k // 4, i, k % 4]")
    check_valid(sch)
    check_compiled(sch, tmp_path)


def test_scheduling_goes_on_in_the_new_loops() -> None:
    sch = Schedule(matmul(3, 5, 7))
    block = sch.get_block("c")
    sch.transform_block_layout(block, "i, j, k -> [i * 5 + j, k]")
    rows, _ = sch.get_loops(block)
    outer, _ = sch.split(rows, [None, 4])
    sch.parallel(outer)
    check_valid(sch)


def test_a_backward_and_a_constant_iteration() -> None:
    sch = Schedule(copy(5))
    sch.transform_block_layout(sch.get_block("b"), "i -> [0, 4 - i]")
    assert "b[0 - v_ax1 + 4] = a[0 - v_ax1 + 4] + float32(1.0)" in body(sch)
    check_valid(sch)


def test_size_known_at_run_time() -> None:
    sch = Schedule(dynamic())
    sch.transform_block_layout(sch.get_block("b"), "i -> [0, i]")
    check_valid(sch, n=7)


def test_conditions_and_nested_blocks_follow() -> None:
    sch = Schedule(nested())
    sch.transform_block_layout(sch.get_block("outer"), "o -> [1 - o]")
    assert "reads(b[0 - v_ax0 * 4 + 4:0 - v_ax0 * 4 + 4 + 4])" in body(sch)
    check_valid(sch)
    guarded = Schedule(
        parse(
            """@program
def guarded(a: Buffer((6,), "float32"), b: Buffer((6,), "float32")):
    for i in serial(6):
        with block("b"):
            v_i = spatial(6, i)
            where(i < 6)
            reads(a[v_i])
            writes(b[v_i])
            b[v_i] = a[v_i]
"""
        )
    )
    guarded.transform_block_layout(guarded.get_block("b"), "i -> [i // 2, i % 2]")
    assert "where(ax0 * 2 + ax1 < 6)" in body(guarded)
    check_valid(guarded)


def test_arithmetic_on_data_stays_as_it_is() -> None:
    a = te.placeholder((6,), "int8", name="a")
    b = te.compute((6,), lambda i: (a[i] * 3 + a[i]) // 2, name="b")
    sch = Schedule(te.program([a, b], name="whole"))
    sch.transform_block_layout(sch.get_block("b"), "i -> [i // 3, i % 3]")
    load = "a[v_ax0 * 3 + v_ax1]"
    assert f"({load} * int8(3) + {load}) // int8(2)" in body(sch)
    check_valid(sch)


def test_requires_loops_around_the_block_alone() -> None:
    sch = Schedule(matmul(4, 4, 4))
    block = sch.get_block("c")
    _, j, k = sch.get_loops(block)
    sch.decompose_reduction(block, k)
    with refuses(sch, f"expected loops around the block alone, got '{sch.value(j)}', which holds"):
        sch.transform_block_layout(block, "i, j, k -> [i, j, k]")


def test_requires_loops_around_the_block_alone_and_no_root() -> None:
    sch = Schedule(copy(4, 8))
    with refuses(sch, "expected loops around the block alone, got the root block"):
        sch.transform_block_layout(sch.get_block("root"), "-> []")


def test_a_block_without_loops_and_iterations() -> None:
    sch = Schedule(
        parse(
            """@program
def single(a: Buffer((1,), "float32"), b: Buffer((1,), "float32")):
    with block("b"):
        reads(a[0])
        writes(b[0])
        b[0] = a[0]
"""
        )
    )
    sch.transform_block_layout(sch.get_block("b"), "-> [0]")
    assert "for ax0 in serial(1):" in body(sch)
    check_valid(sch)


def test_requires_loops_around_the_block_alone_and_no_branches() -> None:
    sch = Schedule(
        parse(
            """@program
def branch(a: Buffer((6,), "float32"), b: Buffer((6,), "float32")):
    if 1 < 2:
        for i in serial(6):
            with block("b"):
                v_i = spatial(6, i)
                reads(a[v_i])
                writes(b[v_i])
                b[v_i] = a[v_i]
"""
        )
    )
    with refuses(sch, "expected loops around the block alone, got 'b' in a branch"):
        sch.transform_block_layout(sch.get_block("b"), "i -> [i]")


def test_requires_a_loop_of_its_own_for_each_iteration() -> None:
    sch = Schedule(copy(4, 8))
    block = sch.get_block("b")
    rows, _ = sch.get_loops(block)
    sch.split(rows, [2, 2])
    with refuses(sch, "expected a loop of its own for each iteration, got 'v_i0' bound to"):
        sch.transform_block_layout(block, flat)
    unit = Schedule(copy(4, 8))
    unit.add_unit_loop(unit.get_block("b"))
    with refuses(unit, "to which no iteration is bound"):
        unit.transform_block_layout(unit.get_block("b"), flat)


def test_requires_loops_of_fixed_extents() -> None:
    sch = Schedule(triangle())
    with refuses(sch, "expected loops of fixed extents, got i, which varies with 'i'"):
        sch.transform_block_layout(sch.get_block("b"), "i, j -> [j, i]")


def test_requires_serial_loops_without_annotations() -> None:
    sch = Schedule(copy(4, 8))
    block = sch.get_block("b")
    sch.parallel(sch.get_loops(block)[0])
    with refuses(sch, "expected serial loops without annotations, got 'i0', which is parallel"):
        sch.transform_block_layout(block, flat)


def test_requires_an_index_map() -> None:
    sch = Schedule(copy(4, 8))
    with refuses(sch, "expected an index map, got 'flat' is no index map; write it as"):
        sch.transform_block_layout(sch.get_block("b"), "flat")


def test_requires_an_index_map_with_one_index_for_each_iteration() -> None:
    sch = Schedule(copy(4, 8))
    with refuses(sch, "expected an index map with one index for each iteration, got 1 for 2"):
        sch.transform_block_layout(sch.get_block("b"), "i -> [i]")


def test_requires_a_map_that_gives_each_index_one_iteration_without_padding() -> None:
    sch = Schedule(copy(4, 8))
    block = sch.get_block("b")
    rule = "expected a map that gives each index one iteration, without padding, got "
    with refuses(sch, f"{rule}'i, j -> [i]' has no inverse: 'j' does not follow"):
        sch.transform_block_layout(block, "i, j -> [i]")
    with refuses(sch, f"{rule}'i, j -> [i, j // 3, j % 3]' is not bijective on the shape (4, 8)"):
        sch.transform_block_layout(block, "i, j -> [i, j // 3, j % 3]")


def test_requires_new_iterations_that_are_either_spatial_or_reduce() -> None:
    sch = Schedule(matmul(3, 4, 5))
    rule = "expected new iterations that are either spatial or reduce, got j * 5 + k of spatial and"
    with refuses(sch, rule):
        sch.transform_block_layout(sch.get_block("c"), "i, j, k -> [i, j * 5 + k]")


def test_requires_a_map_that_keeps_a_reduce_iteration_of_a_block_with_an_init() -> None:
    sch = Schedule(matmul(3, 4, 1))
    with refuses(sch, "expected a map that keeps a reduce iteration of a block with an init, got"):
        sch.transform_block_layout(sch.get_block("c"), "i, j, k -> [i, j]")


def test_requires_a_block_without_opaque_iterations() -> None:
    sch = Schedule(scan())
    with refuses(sch, "expected a block without opaque iterations, got 'b', whose iterations must"):
        sch.transform_block_layout(sch.get_block("b"), "i, j -> [j, i]")
