"""Dot products of four 8-bit integers in each lane: AVX-512 VNNI, AVX-VNNI and AVX2.

The second operand is packed: a tile of lanes x 4 bytes lies in a row. `u8s8` multiplies unsigned by
signed bytes, as the instructions do; for `s8s8` they get the first operand plus 128, and 128 times
the sum of the second is taken off again. All are exact; sums wrap like int32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from metasched.ir.dtype import DType
from metasched.ir.expr import Expr, cast
from metasched.ir.extern import EXTERNS, Argument, ExternFunction
from metasched.target.intrinsics.tensor_intrin import TensorIntrin, register_intrin

_DESCRIPTION = """\
@program
def dot(a: Buffer((4,), "{a}"), b: Buffer(({lanes}, 4), "int8"), c: Buffer(({lanes},), "int32")):
    for i in serial({lanes}):
        for k in serial(4):
            with block("dot"):
                vi = spatial({lanes}, i)
                vk = reduce(4, k)
                reads(c[vi], a[vk], b[vi, vk])
                writes(c[vi])
                c[vi] = c[vi] + cast(a[vk], "int32") * cast(b[vi, vk], "int32")"""

_IMPLEMENTATION = """\
@program
def dot(a: Buffer((4,), "{a}"), b: Buffer(({lanes}, 4), "int8"), c: Buffer(({lanes},), "int32")):
    c[ramp(0, 1, {lanes})] = extern("{fn}", "int32x{lanes}", c[ramp(0, 1, {lanes})], \
a[ramp(0, 1, 4)], b[ramp(0, 1, {bytes}) // broadcast(4, {bytes}), \
ramp(0, 1, {bytes}) % broadcast(4, {bytes})])"""

_WIDTHS: Final = {16: "__m512i", 8: "__m256i"}


def _dot(lane: int, args: Sequence[Argument]) -> Expr:
    c, a, b = args
    total = c(lane)
    for k in range(4):
        total = total + cast(a(k), "int32") * cast(b(4 * lane + k), "int32")
    return total


def _register(intrin: str, fn: str, a: str, lanes: int, c: str, features: tuple[str, ...]) -> None:
    """An extern function and the intrinsic made of it; ``c`` has C, A and B for the operands."""
    types = (DType("int", 32, lanes), DType.of(a).with_lanes(4), DType("int", 8, 4 * lanes))
    vector = _WIDTHS[lanes]
    body = (
        f"int32_t a;\n__builtin_memcpy(&a, &x1, 4);\n"
        f"const {vector} C = ({vector})x0, B = ({vector})x2;\n"
        f"{c}\nreturn (i32x{lanes})r;"
    )
    EXTERNS.register(
        fn, ExternFunction(fn, types, types[0], _dot, body, ("immintrin.h",), features)
    )
    values = {"a": a, "lanes": lanes, "bytes": 4 * lanes, "fn": fn}
    texts = (text.format(**values) for text in (_DESCRIPTION, _IMPLEMENTATION))
    register_intrin(TensorIntrin.of(intrin, *texts))


def _by_products(widen: str) -> str:
    """AVX2 has no dot product of bytes: products of 16 bits, added in pairs twice, are exact."""
    return (
        f"const __m256i A = {widen}(_mm_set1_epi32(a));\n"
        "const __m256i lo = _mm256_cvtepi8_epi16(_mm256_castsi256_si128(B));\n"
        "const __m256i hi = _mm256_cvtepi8_epi16(_mm256_extracti128_si256(B, 1));\n"
        "const __m256i p = _mm256_hadd_epi32(_mm256_madd_epi16(A, lo), "
        "_mm256_madd_epi16(A, hi));\n"
        "const __m256i r = _mm256_add_epi32(C, _mm256_permute4x64_epi64(p, 0xd8));"
    )


def _by_dpbusd(lanes: int, dpbusd: str, *, signed: bool) -> str:
    bits, vector = 32 * lanes, _WIDTHS[lanes]
    name = f"_mm{bits}"
    sub, zero = f"{name}_sub_epi32", f"{name}_setzero_si{bits}()"
    if not signed:
        return f"const {vector} r = {dpbusd}(C, {name}_set1_epi32(a), B);"
    return (
        f"const {vector} A = {name}_set1_epi32(a ^ (int32_t)0x80808080);\n"
        f"const {vector} off = {dpbusd}({zero}, {name}_set1_epi8(-128), B);\n"
        f"const {vector} r = {sub}({dpbusd}(C, A, B), off);"
    )


_DPBUSD_512: Final = "_mm512_dpbusd_epi32", ("avx512_vnni", "avx512f")
_DPBUSD_256: Final = "_mm256_dpbusd_avx_epi32", ("avx2", "avx_vnni")

for _pair, _a in (("u8s8", "uint8"), ("s8s8", "int8")):
    _signed = _pair == "s8s8"
    for _lanes, _kind, (_call, _features) in (
        (16, "vnni", _DPBUSD_512),
        (8, "avxvnni", _DPBUSD_256),
    ):
        _register(
            f"dot_{_lanes}x4_{_pair}_{_kind}",
            f"dot_{_pair}_{_kind}",
            _a,
            _lanes,
            _by_dpbusd(_lanes, _call, signed=_signed),
            _features,
        )
    _widen = f"_mm256_cvtep{'i' if _signed else 'u'}8_epi16"
    _register(f"dot_8x4_{_pair}_avx2", f"dot_{_pair}_avx2", _a, 8, _by_products(_widen), ("avx2",))

DOT_INT8: Final[dict[str, tuple[str, ...]]] = {
    pair: tuple(
        f"dot_{lanes}x4_{pair}_{kind}"
        for lanes, kind in ((16, "vnni"), (8, "avxvnni"), (8, "avx2"))
    )
    for pair in ("u8s8", "s8s8")
}
"""The intrinsics by signedness of the operands, the fastest first: for `pick_intrin`."""
