from __future__ import annotations

import pytest

from metasched import ops, te
from metasched.ir.stmt import Block, Program
from metasched.schedule.state import State
from metasched.space.generate import drafts
from metasched.space.packing import Packing, packings
from metasched.space.rules import AutoInline
from metasched.testing import suite
from tests.core.space.outline import TARGET


def block(program: Program, name: str) -> Block:
    (draft,) = drafts(program, (AutoInline(),), TARGET)
    return draft.state.block(name)


def found(program: Program, name: str) -> tuple[Packing, ...]:
    return packings(block(program, name), row_bytes=1024, least_reuse=16)


def test_a_transposed_operand_is_packed_with_the_lanes_last() -> None:
    # o[h, i, j] sums q[h, i, r] * k[h, j, r]; lanes run along j.
    assert found(ops.attention_scores(h=2, l=32, d=8), "o") == (Packing(1, (0, 3, 2), True),)


def test_an_inlined_transpose_is_packed() -> None:
    (packing,) = found(suite.program("TBG"), "o")
    assert packing.strided


def test_rows_far_apart_are_packed_in_their_order() -> None:
    assert found(ops.matmul(m=64, n=256, k=64), "c") == (Packing(1, (2, 1), False),)


def test_rows_close_together_are_not_packed() -> None:
    assert not found(ops.matmul(m=64, n=255, k=64), "c")
    assert not found(suite.program("C2D"), "conv")


def test_an_operand_that_is_hardly_reused_is_not_packed() -> None:
    assert not found(ops.matmul(m=15, n=512, k=64), "c")


def test_an_operand_without_reuse_is_not_packed() -> None:
    assert not found(ops.matmul(m=1, n=512, k=64), "c")


def test_strides_that_vary_are_not_packed() -> None:
    assert not found(suite.program("GRP"), "conv")


def test_a_convolution_over_strided_pixels_is_packed() -> None:
    x, w = te.placeholder((4, 33), name="x"), te.placeholder((16, 4, 3), name="w")
    c, r = te.reduce_axis(4, name="c"), te.reduce_axis(3, name="r")
    o = te.compute(
        (16, 16), lambda f, i: te.sum(x[c, i * 2 + r] * w[f, c, r], axis=[c, r]), name="o"
    )
    assert found(te.program([x, w, o]), "o") == (Packing(0, (2, 3, 1), True),)


def test_symbolic_reuse_counts_as_enough() -> None:
    n = te.var("n")
    a, b = te.placeholder((n, 8), name="a"), te.placeholder((16, 8), name="b")
    k = te.reduce_axis(8, name="k")
    c = te.compute((n, 16), lambda i, j: te.sum(a[i, k] * b[j, k], axis=k), name="c")
    assert found(te.program([a, b, c]), "c") == (Packing(1, (2, 1), True),)


@pytest.mark.parametrize("program", [ops.norm(b=1, m=8, n=8)])
def test_a_block_of_few_dimensions(program: Program) -> None:
    state = State(program)
    assert not packings(state.block("s"), row_bytes=1024, least_reuse=16)
