from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metasched import te
from metasched.errors import UsageError
from metasched.ir.reference import evaluate

X = np.array([-2.5, -0.5, 0.0, 0.5, 1.5, 3.25])
POSITIVE = np.array([0.25, 0.5, 1.0, 2.0, 3.0, 9.0])


def elementwise(function: Callable[[Any], Any], data: Any) -> Any:
    a = te.placeholder((len(data),), str(data.dtype), name="a")
    o = te.compute((len(data),), lambda i: function(a[i]), name="o")
    return evaluate(te.program([a, o]), {"a": data})["o"]


@pytest.mark.parametrize(
    ("function", "expected", "data"),
    [
        (te.exp, np.exp, X),
        (te.log, np.log, POSITIVE),
        (te.sqrt, np.sqrt, POSITIVE),
        (te.rsqrt, lambda x: 1 / np.sqrt(x), POSITIVE),
        (te.erf, np.vectorize(math.erf), X),
        (te.tanh, np.tanh, X),
        (te.sigmoid, lambda x: 1 / (1 + np.exp(-x)), X),
        (te.abs, np.abs, X),
        (te.floor, np.floor, X),
        (te.round, np.round, X),
        (lambda x: te.pow(x, 1.5), lambda x: x**1.5, POSITIVE),
        (lambda x: te.cast(x, "int32"), np.trunc, X),
        (lambda x: -x * 2 + 1, lambda x: -x * 2 + 1, X),
        (
            lambda x: te.if_then_else(te.any(x < 0, x > 1), x, 7.0),
            lambda x: np.where((x < 0) | (x > 1), x, 7),
            X,
        ),
        (
            lambda x: te.if_then_else(te.logical_not(te.equal(x, 0)), x, 7.0),
            lambda x: np.where(x != 0, x, 7),
            X,
        ),
        (
            lambda x: te.cast(te.all(x >= 0, x <= 1.5), "float64"),
            lambda x: (x >= 0) & (x <= 1.5),
            X,
        ),
    ],
)
def test_values(function: Any, expected: Any, data: Any) -> None:
    np.testing.assert_allclose(elementwise(function, data), expected(data), rtol=1e-15, atol=1e-15)


def test_constants_take_the_dtype_of_their_kind() -> None:
    assert [str(te.const(v).dtype) for v in (True, 1, 1.0)] == ["bool", "int64", "float32"]
    assert str(te.const(1, "int8")) == "int8(1)"


def test_index_functions() -> None:
    n = te.var("n")
    assert str(te.indexdiv(n, 4)) == "n // 4"
    assert str(te.indexmod(n, 4)) == "n % 4"


n = te.var("n")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: te.exp(n), "te.exp needs a float, got int64; convert with te.cast"),
        (lambda: te.pow(n, 2), "te.pow needs two floats"),
        (lambda: te.if_then_else(n, 1, 2), "a condition must be a bool, got n of int64"),
        (lambda: te.all(n), "a condition must be a bool"),
        (lambda: te.cast(n, "int7"), "unknown dtype 'int7'"),
        (lambda: n / 2, "'/' needs floats, got int64"),
        (lambda: n // 0, "division of n by zero"),
        (lambda: n + te.const(1.0), "'add' needs operands of one dtype, got int64 and float32"),
    ],
)
def test_refusals(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()
