"""Elementwise operators and the activation functions that others share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from metasched import te
from metasched.ir.expr import Expr
from metasched.ir.stmt import Program
from metasched.ops.registry import operator, positive


def relu_of(x: Expr) -> Expr:
    """``max(x, 0)``."""
    return te.max(x, 0)


def gelu_of(x: Expr) -> Expr:
    """``x / 2 * (1 + erf(x / sqrt(2)))``, the exact form."""
    return x * 0.5 * (te.erf(x * math.sqrt(0.5)) + 1.0)


ACTIVATIONS: Final[dict[str, Callable[[Expr], Expr]]] = {"relu": relu_of, "gelu": gelu_of}
"""Activation functions by name."""


@operator
def relu(*, m: int, n: int, dtype: str = "float32") -> Program:
    """The larger of 0 and each element of ``a[m, n]``."""
    return _activate("relu", m, n, dtype)


@operator
def gelu(*, m: int, n: int, dtype: str = "float32") -> Program:
    """The exact gelu of each element, ``a / 2 * (1 + erf(a / sqrt(2)))``."""
    return _activate("gelu", m, n, dtype)


def _activate(name: str, m: int, n: int, dtype: str) -> Program:
    positive(m=m, n=n)
    a = te.placeholder((m, n), dtype, name="a")
    o = te.compute((m, n), lambda i, j: ACTIVATIONS[name](a[i, j]), name="o")
    return te.program([a, o], name=name)


@operator
def add_relu(*, m: int, n: int, dtype: str = "float32") -> Program:
    """``o[m, n] = max(a[m, n] + b[m, n], 0)`` in two stages."""
    positive(m=m, n=n)
    a = te.placeholder((m, n), dtype, name="a")
    b = te.placeholder((m, n), dtype, name="b")
    t = te.compute((m, n), lambda i, j: a[i, j] + b[i, j], name="t")
    o = te.compute((m, n), lambda i, j: relu_of(t[i, j]), name="o")
    return te.program([a, b, o], name="add_relu")


@operator
def transpose(*, m: int, n: int, dtype: str = "float32") -> Program:
    """``o[n, m] = a[m, n]``."""
    positive(m=m, n=n)
    a = te.placeholder((m, n), dtype, name="a")
    o = te.compute((n, m), lambda i, j: a[j, i], name="o")
    return te.program([a, o], name="transpose")
