"""Transposed convolution without multiplying the zeros it is usually defined with.

Output position ``o`` takes input ``i`` through kernel position ``o + p - i * s``. Positions of one
remainder modulo the stride use the same kernel positions, so the output splits into ``s * s``
grids, each a direct convolution with every s-th tap: a main stage over (grid, grid position), and
a last stage that interleaves the grids.
"""

from __future__ import annotations

from metasched import te
from metasched.errors import UsageError
from metasched.ir.expr import Expr
from metasched.ir.stmt import Program
from metasched.ops.conv import pad
from metasched.ops.registry import at_least, operator, positive


@operator
def conv2d_transpose(
    *,
    n: int = 1,
    h: int,
    w: int,
    ci: int,
    co: int,
    k: int,
    s: int = 1,
    p: int = 0,
    dtype: str = "float32",
) -> Program:
    """``x[n, h, w, ci]`` with ``w[k, k, ci, co]`` to ``out[n, (h - 1) * s - 2 * p + k, .., co]``.

    Args:
        n: batch.
        h: input rows.
        w: input columns.
        ci: input channels.
        co: output channels.
        k: kernel width.
        s: stride of the output.
        p: rows and columns cut off each side of the output.
        dtype: of all tensors.
    """
    positive(n=n, h=h, w=w, ci=ci, co=co, k=k, s=s)
    at_least(0, p=p)
    oh, ow = ((size - 1) * s - 2 * p + k for size in (h, w))
    if oh < 1 or ow < 1:
        raise UsageError(f"p={p} cuts the whole output of {oh + 2 * p} by {ow + 2 * p} away")
    taps, grids = -(-k // s), (-(-oh // s), -(-ow // s))
    before = max(0, taps - 1 - p // s)
    after = [
        max(0, g - 1 + (s - 1 + p) // s - (size - 1)) for g, size in zip(grids, (h, w), strict=True)
    ]
    x = te.placeholder((n, h, w, ci), dtype, name="x")
    weight = te.placeholder((k, k, ci, co), dtype, name="w")
    padded = pad(x, [(0, 0), (before, after[0]), (before, after[1]), (0, 0)])
    rh, rw = te.reduce_axis(taps, name="rh"), te.reduce_axis(taps, name="rw")
    rc = te.reduce_axis(ci, name="rc")

    def product(b: Expr, gh: Expr, gw: Expr, i: Expr, j: Expr, c: Expr) -> te.Reduction:
        # Row i of grid gh is output row o = i * s + gh; o + p = (i + shift) * s + phase.
        row, column = (
            at + (grid + p) // s - tap + before for at, grid, tap in ((i, gh, rh), (j, gw, rw))
        )
        kh, kw = (tap * s + (grid + p) % s for grid, tap in ((gh, rh), (gw, rw)))
        value = padded[b, row, column, rc] * weight[kh, kw, rc, c]
        if k % s:
            value = te.if_then_else(te.all(kh < k, kw < k), value, te.const(0, dtype))
        return te.sum(value, axis=[rh, rw, rc])

    split = te.compute((n, s, s, *grids, co), product, name="grids")
    out = te.compute(
        (n, oh, ow, co),
        lambda b, i, j, c: split[b, i % s, j % s, i // s, j // s, c],
        name="out",
    )
    return te.program([x, weight, out], name="conv2d_transpose")
