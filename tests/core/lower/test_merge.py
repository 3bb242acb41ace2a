from __future__ import annotations

from metasched import te
from tests.core.lower.programs import after


def test_contiguous_loops_become_one() -> None:
    x = te.placeholder((4, 5, 6), "float32", name="x")
    y = te.compute((4, 5, 6), lambda i, j, k: x[i, j, k] + 1.0, name="y")
    text = after(te.program([x, y], name="p"), "merge_loops")
    assert text.count("for") == 1
    assert "serial(120)" in text


def test_a_transpose_keeps_its_loops() -> None:
    x = te.placeholder((4, 6), "float32", name="x")
    y = te.compute((6, 4), lambda i, j: x[j, i], name="y")
    assert after(te.program([x, y], name="p"), "merge_loops").count("for") == 2


def test_values_that_use_the_counter_keep_their_loops() -> None:
    y = te.compute((6, 4), lambda i, j: te.cast(i, "float32"), name="y")
    assert after(te.program([y], name="p"), "merge_loops").count("for") == 2
