from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metasched import te
from metasched.errors import UsageError
from metasched.ir.reference import evaluate

DATA = np.array([[3, -1, 7, 7], [-5, -2, -9, -2]], np.float64)


def over_rows(reduce: Callable[..., Any], dtype: str) -> tuple[te.Tensor, te.Tensor]:
    a = te.placeholder((2, 4), dtype, name="a")
    k = te.reduce_axis((0, 4), name="k")
    return te.compute((2,), lambda i: reduce(a[i, k], axis=k), name="o"), a


@pytest.mark.parametrize(
    ("reduce", "expected"),
    [
        (te.sum, [16, -18]),
        (te.prod, [-147, 180]),
        (te.max, [7, -2]),
        (te.min, [-1, -9]),
        (te.argmax, [2, 1]),
        (te.argmin, [1, 2]),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32", "int32", "int8"])
def test_reductions(reduce: Callable[..., Any], expected: list[int], dtype: str) -> None:
    o, a = over_rows(reduce, dtype)
    if dtype == "int8" and reduce is te.prod:
        expected = [int(np.int64(x).astype(np.int8)) for x in expected]
    found = evaluate(te.program([a, o]), {"a": DATA.astype(dtype)}, precision="program")["o"]
    assert found.tolist() == expected


def test_argmax_over_two_axes_is_row_major() -> None:
    a = te.placeholder((2, 4), "float64", name="a")
    i, j = te.reduce_axis(2, name="i"), te.reduce_axis(4, name="j")
    best = te.compute((1,), lambda _: te.argmax(a[i, j], axis=[i, j]), name="best")
    program = te.program([a, best])
    assert [b.name for b in program.root.allocs] == ["best_value"]
    assert evaluate(program, {"a": DATA})["best"].tolist() == [2]
    assert evaluate(program, {"a": -DATA})["best"].tolist() == [6]


def test_maximum_of_values() -> None:
    n = te.var("n")
    assert str(te.max(n, 3)) == "max(n, 3)"
    assert str(te.min(n, 3, te.var("m"))) == "min(min(n, 3), m)"


def test_unsigned_and_bool_extremes() -> None:
    data = np.array([[1, 200, 3, 4], [5, 5, 5, 5]], np.uint8)
    for reduce, expected in ((te.max, [200, 5]), (te.min, [1, 5])):
        o, a = over_rows(reduce, "uint8")
        found = evaluate(te.program([a, o]), {"a": data}, precision="program")["o"]
        assert found.tolist() == expected


k = te.reduce_axis(4, name="k")
x = te.placeholder((4,), name="x")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: te.reduce_axis(0), "reduction axis 'k' has extent 0; it must be positive"),
        (lambda: te.reduce_axis((1, 4)), "starts at 1; start at 0"),
        (lambda: te.sum(x[k], axis=te.var("k")), "reduces over te.reduce_axis axes"),
        (lambda: te.sum(x[k], axis=[]), "one or more distinct axes"),
        (lambda: te.sum(x[k], axis=[k, k]), "one or more distinct axes"),
        (lambda: te.max(x[k]), "takes either two or more values or one value and axis="),
        (lambda: te.max(x[k], 0, axis=k), "takes either two or more values"),  # type: ignore[call-overload]
        (lambda: te.sum(x[k], axis=k) * 2, r"te.sum\(...\) is used inside an expression"),
        (lambda: 1 - te.sum(x[k], axis=k), r"te.sum\(...\) is used inside an expression"),
        (lambda: x[0] + te.sum(x[k], axis=k), r"te.sum\(...\)"),  # type: ignore[operator]
        (lambda: te.exp(te.sum(x[k], axis=k)), r"te.sum\(...\)"),  # type: ignore[arg-type]
    ],
)
def test_refusals(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()
