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
    x = te.placeholder((2, 20), "float32", name="x")
    k = te.reduce_axis(20, name="k")
    y = te.compute((2,), lambda i: te.sum(x[i, k], axis=k), name="y")
    assert "ramp" not in after(te.program([x, y], name="rows"), "vectorize")


def test_a_column_sum_stays_scalar() -> None:
    x = te.placeholder((150, 2), "float32", name="x")
    k = te.reduce_axis(150, name="k")
    y = te.compute((2,), lambda i: te.sum(x[k, i], axis=k), name="y")
    assert "ramp" not in after(te.program([x, y], name="columns"), "vectorize")
