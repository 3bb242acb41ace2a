"""Matrix products: plain, batched, and the two of attention."""

from __future__ import annotations

from metasched import te
from metasched.ir.stmt import Program
from metasched.ops.registry import operator, positive


@operator
def matmul(
    *, m: int, n: int, k: int, dtype: str = "float32", acc_dtype: str | None = None
) -> Program:
    """``c[m, n] = sum over k of a[m, k] * b[k, n]``.

    Args:
        m: rows of a.
        n: columns of b.
        k: columns of a.
        dtype: of a and b.
        acc_dtype: of the products, the sums and c (default: ``dtype``); int8 products want int32.
    """
    positive(m=m, n=n, k=k)
    acc = acc_dtype or dtype
    a = te.placeholder((m, k), dtype, name="a")
    b = te.placeholder((k, n), dtype, name="b")
    r = te.reduce_axis(k, name="k")
    c = te.compute(
        (m, n),
        lambda i, j: te.sum(te.cast(a[i, r], acc) * te.cast(b[r, j], acc), axis=r),
        name="c",
    )
    return te.program([a, b, c], name="matmul")


@operator
def batch_matmul(
    *, b: int, m: int, n: int, k: int, dtype: str = "float32", acc_dtype: str | None = None
) -> Program:
    """``z[b, m, n] = sum over k of x[b, m, k] * y[b, k, n]``; dtypes as in `matmul`."""
    positive(b=b, m=m, n=n, k=k)
    acc = acc_dtype or dtype
    x = te.placeholder((b, m, k), dtype, name="x")
    y = te.placeholder((b, k, n), dtype, name="y")
    r = te.reduce_axis(k, name="k")
    z = te.compute(
        (b, m, n),
        lambda q, i, j: te.sum(te.cast(x[q, i, r], acc) * te.cast(y[q, r, j], acc), axis=r),
        name="z",
    )
    return te.program([x, y, z], name="batch_matmul")


@operator
def transpose_batch_matmul(
    *,
    b: int = 1,
    l: int,  # noqa: E741
    h: int,
    d: int,
    dtype: str = "float32",
) -> Program:
    """Scores of attention on untransposed heads.

    ``o[b, h, l, l] = q_t[b, h, l, d] x v_t[b, h, d, l]``, where ``q_t`` and ``v_t`` are the
    transposes, stages of their own, of the inputs ``q[b, l, h, d]`` and ``v[b, l, h, d]``.
    """
    positive(b=b, l=l, h=h, d=d)
    q = te.placeholder((b, l, h, d), dtype, name="q")
    v = te.placeholder((b, l, h, d), dtype, name="v")
    q_t = te.compute((b, h, l, d), lambda n, hh, i, e: q[n, i, hh, e], name="q_t")
    v_t = te.compute((b, h, d, l), lambda n, hh, e, i: v[n, i, hh, e], name="v_t")
    r = te.reduce_axis(d, name="k")
    o = te.compute(
        (b, h, l, l),
        lambda n, hh, i, j: te.sum(q_t[n, hh, i, r] * v_t[n, hh, r, j], axis=r),
        name="o",
    )
    return te.program([q, v, o], name="transpose_batch_matmul")


@operator
def attention_scores(*, h: int, l: int, d: int, dtype: str = "float32") -> Program:  # noqa: E741
    """``o[h, i, j] = sum over d of q[h, i, d] * k[h, j, d]`` for i, j below ``l``."""
    positive(h=h, l=l, d=d)
    q = te.placeholder((h, l, d), dtype, name="q")
    k = te.placeholder((h, l, d), dtype, name="k")
    r = te.reduce_axis(d, name="r")
    o = te.compute((h, l, l), lambda hh, i, j: te.sum(q[hh, i, r] * k[hh, j, r], axis=r), name="o")
    return te.program([q, k, o], name="attention_scores")
