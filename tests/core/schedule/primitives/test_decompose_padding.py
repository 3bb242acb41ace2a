from __future__ import annotations

from pathlib import Path

import pytest

from metasched import ops, te
from metasched.ir.stmt import Program
from metasched.ir.walk import blocks
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref
from tests.core.schedule.primitives.compiled import check_compiled
from tests.core.schedule.primitives.stages import (
    check_valid,
    producer,
    refuses,
    tiled,
    twice_written,
    window,
)
from tests.core.schedule.programs import body, copy, matmul, two_stages


def padded(sch: Schedule, name: str = "p") -> tuple[Ref, tuple[Ref, ...]]:
    block = sch.get_block(name)
    return block, sch.get_loops(block)


def halo(m: int = 5, n: int = 7, low: int = 1, high: int = 2) -> Program:
    """A matrix with rows and columns of padding around it, times two."""
    a = te.placeholder((m, n), "float32", name="a")

    def at(i: te.Expr, j: te.Expr) -> te.Expr:
        inside = te.all(i >= low, i < m + low, j >= low, j < n + low)
        return te.if_then_else(inside, a[i - low, j - low], te.const(3.0))

    p = te.compute((m + low + high, n + low + high), at, name="p")
    c = te.compute((m + low + high, n + low + high), lambda i, j: p[i, j] * 2.0, name="c")
    return te.program([a, c], name="halo")


def test_loops_shrink_to_what_is_no_padding() -> None:
    sch = Schedule(window(10))
    block, (loop,) = padded(sch)
    assert sch.can_decompose_padding(block, loop)
    assert sch.value(sch.decompose_padding(block, loop)) == "p_pad_const"
    assert body(sch).startswith(
        'p = alloc((12,), "float32")\n'
        "for i_pad in serial(12):\n"
        '    with block("p_pad_const"):\n'
        "        v_i_pad = spatial(12, i_pad)\n"
        "        writes(p[v_i_pad])\n"
        "        p[v_i_pad] = float32(0.0)\n"
        "for i in serial(10):\n"
        '    with block("p"):\n'
        "        v_i = spatial(10, i)\n"
        "        reads(a[v_i])\n"
        "        writes(p[v_i + 1])\n"
        "        p[v_i + 1] = a[v_i]\n"
        "for c_i in serial(5):\n"
    )
    check_valid(sch)


@pytest.mark.parametrize("sizes", [(5, 7, 1, 2), (1, 1, 1, 1), (4, 13, 0, 3), (3, 5, 2, 0)])
@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.cc
def test_in_front_of_each_loop(
    sizes: tuple[int, int, int, int], level: int, tmp_path: Path
) -> None:
    sch = Schedule(halo(*sizes))
    block, loops = padded(sch)
    sch.decompose_padding(block, loops[level])
    check_valid(sch)
    check_compiled(sch, tmp_path)


def test_conditions_of_tiled_loops_become_a_predicate() -> None:
    sch = Schedule(window(11))
    block, (loop,) = padded(sch)
    _, inner = sch.split(loop, [None, 4])
    sch.decompose_padding(block, inner)
    assert "where(i_0 * 4 + i_1 < 13 and 1 <= i_0 * 4 + i_1 and i_0 * 4 + i_1 < 12)" in body(sch)
    check_valid(sch)


def test_outer_conditions_become_a_predicate() -> None:
    sch = Schedule(halo(4, 6))
    block, (_, columns) = padded(sch)
    sch.decompose_padding(block, columns)
    assert "where(1 <= i and i < 5)" in body(sch)
    assert "for j in serial(6):" in body(sch)
    check_valid(sch)


def test_vectorized_loops_keep_their_extent() -> None:
    sch = Schedule(halo(4, 5))
    block, (rows, columns) = padded(sch)
    sch.vectorize(columns)
    sch.parallel(rows)
    sch.decompose_padding(block, rows)
    assert "for j in vectorized(8):" in body(sch)
    assert "for i in parallel(4):" in body(sch)
    check_valid(sch)


def test_what_is_all_padding() -> None:
    a = te.placeholder((4,), "float32", name="a")
    p = te.compute(
        (4,), lambda i: te.if_then_else(i < -1, a[te.max(i, 0)], te.const(2.0)), name="p"
    )
    sch = Schedule(te.program([a, p], name="nothing"))
    block, (loop,) = padded(sch)
    sch.decompose_padding(block, loop)
    check_valid(sch)


def test_padding_of_a_new_layout() -> None:
    sch = Schedule(two_stages(5, 7))
    sch.transform_layout(sch.get_block("b"), "b", "i, j -> [j // 4, i, j % 4]", pad_value=1)
    block, loops = padded(sch, "b")
    sch.decompose_padding(block, loops[0])
    assert "where(ax0 * 4 + ax2 < 7)" in body(sch)
    check_valid(sch)


def test_a_condition_on_two_iterations() -> None:
    a = te.placeholder((6, 6), "float32", name="a")
    p = te.compute(
        (6, 6), lambda i, j: te.if_then_else(i + j < 7, a[i, j], te.const(0.0)), name="p"
    )
    sch = Schedule(te.program([a, p], name="corner"))
    block, loops = padded(sch)
    sch.decompose_padding(block, loops[0])
    assert "where(i + j < 7)" in body(sch)
    check_valid(sch)


def test_padding_of_a_convolution_under_its_tiles() -> None:
    sch = Schedule(ops.conv1d(l=9, ci=2, co=3, k=3, p=1))
    (name,) = (b.name for b in blocks(sch.program.root.body) if "if_then_else" in str(b.body))
    block, loops = padded(sch, name)
    sch.decompose_padding(block, loops[-1])
    check_valid(sch)


def test_size_known_at_run_time() -> None:
    n = te.var("n")
    a = te.placeholder((n,), "float32", name="a")
    p = te.compute(
        (n + 2,),
        lambda i: te.if_then_else(te.all(i >= 1, i < n + 1), a[i - 1], te.const(0.0)),
        name="p",
    )
    sch = Schedule(te.program([a, p], name="dynamic"))
    block, (loop,) = padded(sch)
    sch.decompose_padding(block, loop)
    assert "for i in serial(n):" in body(sch)
    check_valid(sch, n=5)


def test_the_question_changes_nothing() -> None:
    sch = Schedule(matmul())
    block, loops = padded(sch, "c")
    trace = sch.trace
    assert not sch.can_decompose_padding(block, loops[0])
    assert sch.trace == trace


def test_requires_a_complete_block() -> None:
    sch = Schedule(matmul())
    block, loops = padded(sch, "c")
    with refuses(sch, "expected a complete block, got 'c', whose iteration 'v_k' is reduce"):
        sch.decompose_padding(block, loops[0])
    other = Schedule(twice_written())
    block, loops = padded(other, "low")
    with refuses(other, "expected a complete block, got 'low', which shares the writing of 'b'"):
        other.decompose_padding(block, loops[0])


def test_requires_a_loop_around_the_block() -> None:
    sch = Schedule(window())
    block, _ = padded(sch)
    _, (loop, _) = padded(sch, "c")
    with refuses(sch, "expected a loop around the block, got 'c_i'"):
        sch.decompose_padding(block, loop)


def test_requires_a_block_that_stores_if_then_else() -> None:
    sch = Schedule(copy(4))
    block, (loop,) = padded(sch, "b")
    with refuses(sch, "expected a block that stores if_then_else(condition, value, padding), got"):
        sch.decompose_padding(block, loop)


def test_requires_a_condition_and_a_padding_that_load_nothing() -> None:
    a = te.placeholder((6,), "float32", name="a")
    p = te.compute((6,), lambda i: te.if_then_else(i < 3, te.const(0.0), a[i]), name="p")
    sch = Schedule(te.program([a, p], name="swapped"))
    block, (loop,) = padded(sch)
    with refuses(sch, "expected a condition and a padding that load nothing, got 'a', which it"):
        sch.decompose_padding(block, loop)


def test_requires_loops_that_run_each_iteration_of_the_block_once() -> None:
    sch = Schedule(
        producer(
            "reads(a[v_i])", "writes(b[v_i])", "b[v_i] = if_then_else(v_i < 3, a[v_i], float32(0))"
        )
    )
    block = sch.get_block("b")
    sch.compute_at(block, tiled(sch, sch.get_block("c"), [2, 4])[0][0])
    sch.decompose_padding(block, sch.get_loops(block)[0])
    check_valid(sch)
    again = Schedule(window(11, 3, 1))
    block = again.get_block("p")
    again.compute_at(block, again.get_loops(again.get_block("c"))[0])
    with refuses(again, "expected loops that run each iteration of the block once, got 'p', which"):
        again.decompose_padding(block, again.get_loops(block)[-1])
