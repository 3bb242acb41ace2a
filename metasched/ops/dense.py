"""A fully connected layer with optional bias and activation, each a stage of its own."""

from __future__ import annotations

from typing import Literal

from metasched import te
from metasched.errors import UsageError, suggest
from metasched.ir.stmt import Program
from metasched.ops.elementwise import ACTIVATIONS
from metasched.ops.registry import operator, positive

Activation = Literal["relu", "gelu"]


@operator
def dense(
    *,
    m: int,
    n: int,
    k: int,
    bias: bool = True,
    activation: Activation | None = None,
    dtype: str = "float32",
) -> Program:
    """``activation(x[m, k] times y[k, n] + bias[n])``.

    Args:
        m: rows of x.
        n: columns of y.
        k: columns of x.
        bias: whether there is one.
        activation: ``"relu"``, ``"gelu"`` or None.
        dtype: of all tensors.
    """
    positive(m=m, n=n, k=k)
    if activation is not None and activation not in ACTIVATIONS:
        raise UsageError(f"unknown activation '{activation}'{suggest(activation, ACTIVATIONS)}")
    x = te.placeholder((m, k), dtype, name="x")
    y = te.placeholder((k, n), dtype, name="y")
    r = te.reduce_axis(k, name="k")
    z = te.compute((m, n), lambda i, j: te.sum(x[i, r] * y[r, j], axis=r), name="z")
    params = [x, y]
    if bias:
        added = te.placeholder((n,), dtype, name="bias")
        params.append(added)
        product = z
        z = te.compute((m, n), lambda i, j: product[i, j] + added[j], name="add_bias")
    if activation is not None:
        apply, linear = ACTIVATIONS[activation], z
        z = te.compute((m, n), lambda i, j: apply(linear[i, j]), name=activation)
    return te.program([*params, z], name="dense")
