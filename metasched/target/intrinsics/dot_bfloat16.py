"""Register tiles of bfloat16 products summed in float32, two products a lane: avx512_bf16.

The second operand is packed: columns x 2 numbers lie in a row. The instruction rounds each of the
two sums to nearest even and takes denormals for zero, so results may differ from plain float32 in
the last bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from metasched.ir.dtype import DType
from metasched.ir.expr import Expr, cast
from metasched.ir.extern import EXTERNS, Argument, ExternFunction
from metasched.target.intrinsics.tensor_intrin import TensorIntrin, register_intrin

_PARAMS: Final = """\
@program
def dot(a: Buffer(({rows}, 2), "bfloat16"), b: Buffer(({columns}, 2), "bfloat16"), \
c: Buffer(({rows}, {columns}), "float32")):
"""

_DESCRIPTION: Final = """\
    for i in serial({rows}):
        for j in serial({columns}):
            for k in serial(2):
                with block("dot"):
                    vi = spatial({rows}, i)
                    vj = spatial({columns}, j)
                    vk = reduce(2, k)
                    reads(c[vi, vj], a[vi, vk], b[vj, vk])
                    writes(c[vi, vj])
                    c[vi, vj] = c[vi, vj] \
+ cast(a[vi, vk], "float32") * cast(b[vj, vk], "float32")"""

_IMPLEMENTATION: Final = """\
    for i in unrolled({rows}):
        for j in unrolled({vectors}):
            c[i, ramp(j * 16, 1, 16)] = extern("dot_bf16_avx512", "float32x16", \
c[i, ramp(j * 16, 1, 16)], a[i, ramp(0, 1, 2)], \
b[ramp(j * 32, 1, 32) // broadcast(2, 32), ramp(j * 32, 1, 32) % broadcast(2, 32)])"""


def _dot(lane: int, args: Sequence[Argument]) -> Expr:
    c, a, b = args
    total = c(lane)
    for k in range(2):
        total = total + cast(a(k), "float32") * cast(b(2 * lane + k), "float32")
    return total


def _tile(rows: int, vectors: int) -> str:
    columns = 16 * vectors
    values = {"rows": rows, "columns": columns, "vectors": vectors}
    texts = (f"{_PARAMS}{text}".format(**values) for text in (_DESCRIPTION, _IMPLEMENTATION))
    return register_intrin(TensorIntrin.of(f"dot_{rows}x{columns}x2_bf16", *texts)).name


EXTERNS.register(
    "dot_bf16_avx512",
    ExternFunction(
        "dot_bf16_avx512",
        (DType("float", 32, 16), DType("bfloat", 16, 2), DType("bfloat", 16, 32)),
        DType("float", 32, 16),
        _dot,
        "int32_t a;\n"
        "__builtin_memcpy(&a, &x1, 4);\n"
        "return (f32x16)_mm512_dpbf16_ps((__m512)x0, (__m512bh)_mm512_set1_epi32(a), "
        "(__m512bh)x2);",
        ("immintrin.h",),
        ("avx512_bf16", "avx512f"),
    ),
)

DOT_BFLOAT16: Final = (_tile(8, 3), _tile(8, 2), _tile(4, 4), _tile(8, 1), _tile(1, 1))
"""The tiles, larger ones first: for `pick_intrin`."""
