"""Matrix products whose second operand is packed as the intrinsics take it."""

from __future__ import annotations

from metasched import te
from metasched.ir.stmt import Program


def matmul(m: int, n: int, k: int, *, a: str, b: str, columns: int, depth: int) -> Program:
    """``c[m, n] = a[m, k] * b[k, n]`` with ``b`` as tiles of ``columns`` x ``depth``."""
    result = "int32" if a in ("int8", "uint8") else "float32"
    x = te.placeholder((m, k), a, name="a")
    y = te.placeholder((n // columns, k // depth, columns, depth), b, name="b")
    r = te.reduce_axis(k, name="r")

    def value(i: te.Expr, j: te.Expr) -> te.Expr:
        packed = y[j // columns, r // depth, j % columns, r % depth]
        return te.sum(te.cast(x[i, r], result) * te.cast(packed, result), axis=r)

    return te.program([x, y, te.compute((m, n), value, name="c")], name="matmul")
