from __future__ import annotations

import pytest

from metasched import ops, te
from metasched.ir.parser import parse
from metasched.ir.stmt import Program
from metasched.schedule.schedule import Schedule
from tests.core.schedule.primitives.stages import check_valid, refuses, row_sums
from tests.core.schedule.programs import body, matmul


def reduction(kind: str, n: int = 12) -> Program:
    a = te.placeholder((3, n), "float32", name="a")
    k = te.reduce_axis(n, name="k")
    reduce = {"sum": te.sum, "prod": te.prod, "max": te.max, "min": te.min}[kind]
    c = te.compute((3,), lambda i: reduce(a[i, k], axis=k), name="c")
    return te.program([a, c], name=kind)


def test_partial_sums_and_their_sum() -> None:
    sch = Schedule(reduction("sum"))
    _, k = sch.get_loops(sch.get_block("c"))
    outer, _ = sch.split(k, [3, 4])
    partial = sch.rfactor(outer, 0)
    assert sch.value(partial) == "c_rf"
    assert body(sch) == (
        'c_rf = alloc((3, 3), "float32")\n'
        "for i in serial(3):\n"
        "    for k_0 in serial(3):\n"
        "        for k_1 in serial(4):\n"
        '            with block("c_rf"):\n'
        "                v_i_1 = spatial(3, i)\n"
        "                v_k_0 = spatial(3, k_0)\n"
        "                v_k_1 = reduce(4, k_1)\n"
        "                reads(a[v_i_1, v_k_0 * 4 + v_k_1])\n"
        "                writes(c_rf[v_k_0, v_i_1])\n"
        "                with init():\n"
        "                    c_rf[v_k_0, v_i_1] = float32(0.0)\n"
        "                c_rf[v_k_0, v_i_1] = c_rf[v_k_0, v_i_1] + a[v_i_1, v_k_0 * 4 + v_k_1]\n"
        "for i_1 in serial(3):\n"
        "    for k_0_1 in serial(3):\n"
        '        with block("c"):\n'
        "            v_i = spatial(3, i_1)\n"
        "            v_k_0_1 = reduce(3, k_0_1)\n"
        "            reads(c_rf[v_k_0_1, v_i])\n"
        "            writes(c[v_i])\n"
        "            with init():\n"
        "                c[v_i] = float32(0.0)\n"
        "            c[v_i] = c[v_i] + c_rf[v_k_0_1, v_i]\n"
    )
    check_valid(sch)


@pytest.mark.parametrize("kind", ["sum", "prod", "max", "min"])
@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize(("n", "factor"), [(12, 4), (11, 4), (7, 3)])
def test_kinds_of_reductions(kind: str, part: int, n: int, factor: int) -> None:
    sch = Schedule(reduction(kind, n))
    _, k = sch.get_loops(sch.get_block("c"))
    sch.rfactor(sch.split(k, [None, factor])[part], -1)
    check_valid(sch)


def test_more_iterations_than_elements() -> None:
    sch = Schedule(reduction("max", 5))
    _, k = sch.get_loops(sch.get_block("c"))
    outer, _ = sch.split(k, [4, 3])
    sch.rfactor(outer, 0)
    assert "float32(-inf)" in body(sch)
    check_valid(sch)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_every_factor_axis(axis: int) -> None:
    sch = Schedule(matmul(2, 3, 8))
    block = sch.get_block("c")
    _, inner = sch.split(sch.get_loops(block)[2], [2, 4])
    sch.rfactor(inner, axis)
    shape = [2, 3]
    shape.insert(axis % 3, 4)
    assert f'c_rf = alloc({tuple(shape)}, "float32")' in body(sch)
    check_valid(sch)


def test_a_reduction_over_two_fused_axes() -> None:
    sch = Schedule(ops.norm(b=2, m=3, n=5))
    _, i, j = sch.get_loops(sch.get_block("s"))
    outer, inner = sch.split(sch.fuse(i, j), [None, 4])
    partial = sch.rfactor(inner, 0)
    sch.reorder(sch.get_loops(partial)[2], sch.get_loops(partial)[1])
    check_valid(sch)
    assert "(v_i_j_0 * 4 + v_i_j_1) // 5" in body(sch)
    assert "for i_j_0 in" in body(sch)
    assert sch.value(outer) == "i_j_0"


def test_one_of_two_reduce_axes() -> None:
    sch = Schedule(ops.norm(b=2, m=3, n=4))
    sch.rfactor(sch.get_loops(sch.get_block("s"))[1], 1)
    check_valid(sch)


def test_the_whole_reduction_becomes_a_plain_stage() -> None:
    sch = Schedule(reduction("sum", 6))
    partial = sch.rfactor(sch.get_loops(sch.get_block("c"))[1], 0)
    assert "c_rf[v_k_1, v_i_1] = a[v_i_1, v_k_1]" in body(sch)
    sch.compute_inline(partial)
    check_valid(sch)


def test_partial_results_in_parallel_and_decomposed() -> None:
    sch = Schedule(reduction("sum", 13))
    _, k = sch.get_loops(sch.get_block("c"))
    outer, _ = sch.split(k, [None, 4])
    partial = sch.rfactor(outer, 0)
    loops = sch.get_loops(partial)
    sch.parallel(loops[1])
    sch.decompose_reduction(partial, loops[2])
    check_valid(sch)


def test_twice() -> None:
    sch = Schedule(reduction("sum", 24))
    _, k = sch.get_loops(sch.get_block("c"))
    outer, _, inner = sch.split(k, [2, 3, 4])
    partial = sch.rfactor(inner, 0)
    sch.rfactor(outer, 0)
    assert sch.value(partial) == "c_rf"
    check_valid(sch)


def test_promised_reads_follow_the_iterations() -> None:
    sch = Schedule(matmul(3, 4, 6))
    block = sch.get_block("c")
    sch.annotate_buffer_access(block, 0, "read", lambda i, j, k: ((i, i + 1), (0, 6)))
    sch.rfactor(sch.get_loops(block)[2], 0)
    check_valid(sch)


def test_requires_a_nest_of_loops_around_one_block() -> None:
    sch = Schedule(row_sums())
    block = sch.get_block("s")
    sch.compute_at(block, sch.get_loops(sch.get_block("d"))[0])
    with refuses(sch, "expected a nest of loops around one block, got 's' and 'd'"):
        sch.rfactor(sch.get_loops(block)[1], 0)


def test_requires_a_reduction_block() -> None:
    sch = Schedule(row_sums())
    with refuses(sch, "expected a reduction block, got 'd', which has no init"):
        sch.rfactor(sch.get_loops(sch.get_block("d"))[1], 0)


def test_requires_a_loop_that_drives_only_reduce_iterations() -> None:
    sch = Schedule(reduction("sum"))
    i, k = sch.get_loops(sch.get_block("c"))
    rule = "a loop that drives only reduce iterations, got "
    with refuses(sch, rule + "'i', which drives spatial iterations"):
        sch.rfactor(i, 0)
    unit = sch.add_unit_loop(k)
    with refuses(sch, rule + "'u', which drives no iteration"):
        sch.rfactor(unit, 0)


def test_requires_reduce_loops_that_drive_no_spatial_iteration() -> None:
    sch = Schedule(ops.norm(b=2, m=3, n=4))
    q, i, j = sch.get_loops(sch.get_block("s"))
    sch.fuse(q, i)
    with refuses(sch, "reduce loops that drive no spatial iteration, got 'q_i', which drives both"):
        sch.rfactor(j, 0)


def test_requires_a_single_sum_product_maximum_or_minimum_that_starts_from_its_identity() -> None:
    rule = "a single sum, product, maximum or minimum that starts from its identity, got "
    sch = Schedule(ops.argmax(m=3, n=5))
    (block,) = sch.get_child_blocks(sch.get_block("root"))
    with refuses(sch, rule):
        sch.rfactor(sch.get_loops(block)[1], 0)
    text = str(reduction("sum")).replace("c[v_i] = float32(0.0)", "c[v_i] = float32(1.0)")
    sch = Schedule(parse(text))
    with refuses(sch, rule + "c[v_i] = c[v_i] + a[v_i, v_k]"):
        sch.rfactor(sch.get_loops(sch.get_block("c"))[1], 0)


@pytest.mark.parametrize("axis", [2, -3])
def test_requires_a_factor_axis_among_the_dimensions_of_the_partial_results(axis: int) -> None:
    sch = Schedule(reduction("sum"))
    rule = f"a factor_axis among the dimensions of the partial results, got {axis} of 2"
    with refuses(sch, rule):
        sch.rfactor(sch.get_loops(sch.get_block("c"))[1], axis)


def test_requires_a_predicate_over_loops_that_drive_iterations() -> None:
    sch = Schedule(reduction("sum"))
    block = sch.get_block("c")
    i, k = sch.get_loops(block)
    sch.split(sch.add_unit_loop(i), [3, 1])
    with refuses(sch, "expected a predicate over loops that drive iterations, got 'u_0' in u_0"):
        sch.rfactor(k, 0)
