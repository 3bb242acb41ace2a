"""Reductions over rows, and the normalisations built from them."""

from __future__ import annotations

from metasched import te
from metasched.errors import UsageError
from metasched.ir.stmt import Program
from metasched.ops.registry import operator, positive


@operator
def reduce_sum(*, m: int, n: int, dtype: str = "float32") -> Program:
    """``o[m] = sum of a[m, :]``."""
    positive(m=m, n=n)
    a = te.placeholder((m, n), dtype, name="a")
    k = te.reduce_axis(n, name="k")
    o = te.compute((m,), lambda i: te.sum(a[i, k], axis=k), name="o")
    return te.program([a, o], name="reduce_sum")


@operator
def reduce_max(*, m: int, n: int, dtype: str = "float32") -> Program:
    """``o[m] = max of a[m, :]``."""
    positive(m=m, n=n)
    a = te.placeholder((m, n), dtype, name="a")
    k = te.reduce_axis(n, name="k")
    o = te.compute((m,), lambda i: te.max(a[i, k], axis=k), name="o")
    return te.program([a, o], name="reduce_max")


@operator
def argmax(*, m: int, n: int, dtype: str = "float32") -> Program:
    """``o[m]``, int64: the position of the largest element of ``a[m, :]``, the first of equals."""
    positive(m=m, n=n)
    a = te.placeholder((m, n), dtype, name="a")
    k = te.reduce_axis(n, name="k")
    o = te.compute((m,), lambda i: te.argmax(a[i, k], axis=k), name="o")
    return te.program([a, o], name="argmax")


@operator
def norm(*, b: int = 1, m: int, n: int, dtype: str = "float32") -> Program:
    """``length[b]``: the Frobenius norm of each matrix of ``a[b, m, n]``."""
    positive(b=b, m=m, n=n)
    a = te.placeholder((b, m, n), dtype, name="a")
    i, j = te.reduce_axis(m, name="i"), te.reduce_axis(n, name="j")
    s = te.compute((b,), lambda q: te.sum(a[q, i, j] * a[q, i, j], axis=[i, j]), name="s")
    length = te.compute((b,), lambda q: te.sqrt(s[q]), name="length")
    return te.program([a, length], name="norm")


@operator
def softmax(*, m: int, n: int, dtype: str = "float32") -> Program:
    """``o[m, n]``: rows of ``a``, less their maxima, exponentiated and made to sum to 1."""
    positive(m=m, n=n)
    a = te.placeholder((m, n), dtype, name="a")
    k1, k2 = te.reduce_axis(n, name="k1"), te.reduce_axis(n, name="k2")
    mx = te.compute((m,), lambda i: te.max(a[i, k1], axis=k1), name="mx")
    e = te.compute((m, n), lambda i, j: te.exp(a[i, j] - mx[i]), name="e")
    s = te.compute((m,), lambda i: te.sum(e[i, k2], axis=k2), name="s")
    o = te.compute((m, n), lambda i, j: e[i, j] / s[i], name="o")
    return te.program([a, o], name="softmax")


@operator
def layer_norm(*, m: int, n: int, eps: float = 1e-5, dtype: str = "float32") -> Program:
    """``o = (a - mean) / sqrt(variance + eps) * gamma + beta`` over each row of ``a[m, n]``.

    Parameters in order: a, gamma[n], beta[n], o. The variance is that of the centred row, in two
    passes, as cancellation would ruin the one-pass form.
    """
    positive(m=m, n=n)
    if not eps > 0:
        raise UsageError(f"eps={eps!r} is given, a positive number is needed")
    a = te.placeholder((m, n), dtype, name="a")
    gamma = te.placeholder((n,), dtype, name="gamma")
    beta = te.placeholder((n,), dtype, name="beta")
    k1, k2 = te.reduce_axis(n, name="k1"), te.reduce_axis(n, name="k2")
    total = te.compute((m,), lambda i: te.sum(a[i, k1], axis=k1), name="total")
    centred = te.compute((m, n), lambda i, j: a[i, j] - total[i] / float(n), name="centred")
    squares = te.compute(
        (m,), lambda i: te.sum(centred[i, k2] * centred[i, k2], axis=k2), name="squares"
    )
    scale = te.compute((m,), lambda i: te.rsqrt(squares[i] / float(n) + float(eps)), name="scale")
    o = te.compute((m, n), lambda i, j: centred[i, j] * scale[i] * gamma[j] + beta[j], name="o")
    return te.program([a, gamma, beta, o], name="layer_norm")
