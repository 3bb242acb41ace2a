from __future__ import annotations

from pathlib import Path

import pytest

from metasched import ops, te
from metasched.ir.stmt import Program
from metasched.schedule.schedule import Schedule
from tests.core.schedule.primitives.compiled import check_compiled
from tests.core.schedule.primitives.stages import check_valid, gathered, nested, refuses, window
from tests.core.schedule.programs import body, copy


def resized(n: int = 12, m: int = 7) -> Program:
    """A picture enlarged four times in one direction, with a neighbour added."""
    a = te.placeholder((n // 4 + m // 4 + 2, m), "float32", name="a")
    b = te.compute(
        (n, m), lambda i, j: a[i // 4 + j // 4, j // 2] + a[i // 4, j // 2 + 1], name="b"
    )
    return te.program([a, b], name="resized")


def test_an_index_is_computed_once() -> None:
    a = te.placeholder((6,), "float32", name="a")
    b = te.compute((12,), lambda i: a[i // 4 + i % 4], name="b")
    sch = Schedule(te.program([a, b]))
    made = sch.cache_index(sch.get_block("b"), "global")
    assert [sch.value(m) for m in made] == ["index"]
    assert body(sch) == (
        'index = alloc((12,), "int64")\n'
        "for ax0 in serial(12):\n"
        '    with block("index"):\n'
        "        v_ax0 = spatial(12, ax0)\n"
        "        writes(index[v_ax0])\n"
        "        index[v_ax0] = v_ax0 // 4 + v_ax0 % 4\n"
        "for i in serial(12):\n"
        '    with block("b"):\n'
        "        v_i = spatial(12, i)\n"
        "        reads(a[v_i // 4 + v_i % 4], index[v_i])\n"
        "        writes(b[v_i])\n"
        "        b[v_i] = a[index[v_i]]\n"
    )
    check_valid(sch)


def test_each_index_over_the_iterations_that_it_depends_on() -> None:
    sch = Schedule(resized())
    sch.cache_index(sch.get_block("b"), "local")
    text = body(sch)
    assert 'index = alloc((12, 7), "int64", scope="local")' in text
    assert "a[index[v_i, v_j], index_2[v_j]]" in text
    assert "a[index_3[v_i], index_1[v_j]]" in text
    check_valid(sch)


def test_a_threshold_takes_the_largest_parts_that_repeat() -> None:
    sch = Schedule(resized())
    made = sch.cache_index(sch.get_block("b"), "global", cse_thresh=2)
    assert len(made) == 2
    text = body(sch)
    assert "a[index[v_i] + v_j // 4, index_1[v_j]]" in text
    assert "a[index[v_i], index_1[v_j] + 1]" in text
    check_valid(sch)


@pytest.mark.parametrize(("program", "threshold"), [(copy(5), 0), (resized(), 3)])
def test_nothing_to_compute_changes_nothing(program: Program, threshold: int) -> None:
    sch = Schedule(program)
    assert sch.cache_index(sch.get_block("b"), "global", threshold) == ()
    assert sch.program == program
    check_valid(sch)


def test_an_index_that_reads_keeps_its_read() -> None:
    sch = Schedule(gathered())
    sch.cache_index(sch.get_block("b"), "global")
    assert "b[v_i] = a[t[index_1[v_i]] % 3 + index[v_i]]" in body(sch)


def test_the_window_of_a_reduction() -> None:
    sch = Schedule(window(9, 3, 2))
    sch.cache_index(sch.get_block("c"), "local")
    assert "p[index[v_c_i, v_r]]" in body(sch)
    check_valid(sch)


@pytest.mark.cc
def test_a_convolution_compiled(tmp_path: Path) -> None:
    sch = Schedule(ops.conv2d(n=1, h=7, w=7, ci=3, co=5, k=3, s=2, p=1))
    block = sch.get_block("conv")
    sch.cache_index(block, "global")
    loops = sch.get_loops(block)
    sch.parallel(loops[1])
    sch.reorder(*loops[4:], loops[3])
    sch.vectorize(loops[3])
    check_valid(sch)
    check_compiled(sch, tmp_path)


def test_requires_a_known_storage_scope() -> None:
    sch = Schedule(copy(4))
    with refuses(sch, "expected a known storage scope, got 'L1'"):
        sch.cache_index(sch.get_block("b"), "L1")


def test_requires_a_threshold_of_at_least_0() -> None:
    sch = Schedule(copy(4))
    with refuses(sch, "expected a threshold of at least 0, got -1"):
        sch.cache_index(sch.get_block("b"), "global", cse_thresh=-1)


def test_requires_a_block_without_loops_or_blocks_inside() -> None:
    sch = Schedule(nested())
    with refuses(sch, "a block without loops or blocks inside, got loop 'x'"):
        sch.cache_index(sch.get_block("outer"), "global")
