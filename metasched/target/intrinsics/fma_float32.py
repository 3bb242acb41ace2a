"""Register tiles of float32: rows x columns sums, each updated by one product (a rank-1 update).

The first operand gives a number for each row, the second a row of vectors; the sums stay in
registers through the loop around. The tiles leave registers for one row of the second operand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from metasched.ir.dtype import DType
from metasched.ir.expr import Expr
from metasched.ir.extern import EXTERNS, Argument, ExternFunction
from metasched.target.intrinsics.tensor_intrin import TensorIntrin, register_intrin

_PARAMS: Final = """\
@program
def fma(a: Buffer(({rows},), "float32"), b: Buffer(({columns},), "float32"), \
c: Buffer(({rows}, {columns}), "float32")):
"""

_DESCRIPTION: Final = """\
    for i in serial({rows}):
        for j in serial({columns}):
            with block("fma"):
                vi = spatial({rows}, i)
                vj = spatial({columns}, j)
                reads(c[vi, vj], a[vi], b[vj])
                writes(c[vi, vj])
                c[vi, vj] = c[vi, vj] + a[vi] * b[vj]"""

_IMPLEMENTATION: Final = """\
    for i in unrolled({rows}):
        for j in unrolled({vectors}):
            c[i, ramp(j * {lanes}, 1, {lanes})] = extern("{fn}", "float32x{lanes}", \
c[i, ramp(j * {lanes}, 1, {lanes})], broadcast(a[i], {lanes}), b[ramp(j * {lanes}, 1, {lanes})])"""


def _fma(lane: int, args: Sequence[Argument]) -> Expr:
    c, a, b = args
    return c(lane) + a(lane) * b(lane)


def _function(fn: str, lanes: int, vector: str, features: tuple[str, ...]) -> None:
    dtype = DType("float", 32, lanes)
    call = f"_mm{32 * lanes}_fmadd_ps(({vector})x1, ({vector})x2, ({vector})x0)"
    body = f"return (f32x{lanes}){call};"
    EXTERNS.register(
        fn, ExternFunction(fn, (dtype,) * 3, dtype, _fma, body, ("immintrin.h",), features)
    )


def _tile(rows: int, vectors: int, lanes: int, fn: str) -> str:
    columns = vectors * lanes
    name = f"fma_{rows}x{columns}_f32_{fn.removeprefix('fma_')}"
    values = {"rows": rows, "columns": columns, "vectors": vectors, "lanes": lanes, "fn": fn}
    texts = (f"{_PARAMS}{text}".format(**values) for text in (_DESCRIPTION, _IMPLEMENTATION))
    return register_intrin(TensorIntrin.of(name, *texts)).name


_function("fma_avx512", 16, "__m512", ("avx512f",))
_function("fma_avx2", 8, "__m256", ("avx2", "fma"))

FMA_FLOAT32: Final = (
    _tile(8, 3, 16, "fma_avx512"),
    _tile(8, 2, 16, "fma_avx512"),
    _tile(4, 4, 16, "fma_avx512"),
    _tile(8, 1, 16, "fma_avx512"),
    _tile(6, 2, 8, "fma_avx2"),
    _tile(4, 2, 8, "fma_avx2"),
    _tile(8, 1, 8, "fma_avx2"),
)
"""The tiles, larger ones first: for `pick_intrin`."""
