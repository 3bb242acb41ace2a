from __future__ import annotations

from collections.abc import Callable

from metasched import te
from metasched.ir.stmt import Program
from tests.core.lower.programs import after

Golden = Callable[[str], None]


def padded(rows: int, columns: int, channels: int) -> Program:
    x = te.placeholder((rows, columns, channels), "float32", name="x")
    p = te.compute(
        (rows + 2, columns + 3, channels),
        lambda h, w, c: te.if_then_else(
            te.all(h >= 1, h < rows + 1, w >= 1, w < columns + 1), x[h - 1, w - 1, c], 0.0
        ),
        name="p",
    )
    return te.program([x, p], name="pad")


def test_padding_splits_into_borders_and_middle(golden: Golden) -> None:
    golden(after(padded(5, 6, 2), "split_selects"))


def test_borders_that_merge_walk_whole_rows(golden: Golden) -> None:
    golden(after(padded(5, 6, 2), "merge_loops"))


def test_a_triangle_splits_each_row_where_it_ends() -> None:
    x = te.placeholder((8, 8), "float32", name="x")
    y = te.compute((8, 8), lambda i, j: te.if_then_else(i < j, x[i, j], 0.0), name="y")
    text = after(te.program([x, y], name="upper"), "split_selects")
    assert "if_then_else" not in text
    assert "in serial(i + 1)" in text


def test_conditions_that_are_no_ranges_stay() -> None:
    x = te.placeholder((8, 8), "float32", name="x")
    y = te.compute((8, 8), lambda i, j: te.if_then_else(j % 2 < 1, x[i, j], 0.0), name="y")
    assert "if_then_else" in after(te.program([x, y], name="even"), "split_selects")
