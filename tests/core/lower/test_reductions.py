from __future__ import annotations

from collections.abc import Callable

from metasched import te
from tests.core.lower.programs import after

Golden = Callable[[str], None]


def test_a_row_sum_fills_four_vectors(golden: Golden) -> None:
    x = te.placeholder((2, 150), "float32", name="x")
    k = te.reduce_axis(150, name="k")
    y = te.compute((2,), lambda i: te.sum(x[i, k], axis=k), name="y")
    golden(after(te.program([x, y], name="rows"), "vectorize"))


def test_a_short_row_stays_scalar() -> None:
    x = te.placeholder((2, 6), "float32", name="x")
    k = te.reduce_axis(6, name="k")
    y = te.compute((2,), lambda i: te.sum(x[i, k], axis=k), name="y")
    assert "ramp" not in after(te.program([x, y], name="rows"), "vectorize")


def test_a_column_sum_has_scalar_partial_sums(golden: Golden) -> None:
    x = te.placeholder((19, 2), "float32", name="x")
    k = te.reduce_axis(19, name="k")
    y = te.compute((2,), lambda i: te.sum(x[k, i], axis=k), name="y")
    program = str(te.program([x, y], name="columns"))
    assert "ramp" not in after(program, "vectorize")
    golden(after(program, "tile_registers"))


def test_a_chain_that_reads_its_own_sums_keeps_its_order() -> None:
    program = """
@program
def p(a: Buffer((64, 3), "float32"), b: Buffer((3,), "float32")):
    for k in serial(64):
        with block("b"):
            v = spatial(3, 0)
            vk = reduce(64, k)
            reads(a[vk, 1], b[v])
            writes(b[v])
            b[v] = b[v] + a[vk, 1] * b[v]
"""
    assert "_p" not in after(program, "tile_registers")
