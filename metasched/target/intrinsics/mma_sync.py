"""Products of 16 x 16 tiles by one warp: mma.sync, with ldmatrix where the operands are 16 bits.

Tiles of two instructions of 8 columns, so that one ldmatrix loads an operand. Where ldmatrix cannot
transpose, as with bytes and words, the second operand is loaded element by element if its rows run
along the columns. ``tf32`` rounds float32 operands to 11 bits, so it has to be asked for.
"""

from __future__ import annotations

from typing import Final

from metasched.ir.dtype import DType
from metasched.ir.procedure import Param
from metasched.target.intrinsics.tensor_core import (
    COLUMNS,
    GROUPS,
    ROWS,
    Operand,
    Order,
    TensorCoreGroup,
    copy,
    product,
    zero,
)

_WARP: Final = 32
_TILE: Final = (16, 16)

_LDMATRIX: Final = """\
unsigned *r = (unsigned *)o0;
const int lane = threadIdx.x;
const unsigned at = __cvta_generic_to_shared({address});
asm volatile("ldmatrix.sync.aligned.m8n8.x4{trans}.shared.b16 {{%0, %1, %2, %3}}, [%4];"
             : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at));"""

_BY_ROWS: Final = "x0 + lane % 16 * ld_x0 + lane / 16 * {piece}"
"""Four 8 x 16-byte pieces: the upper rows, the lower rows, then both further right."""

_BY_TERMS: Final = "x0 + (lane % 8 + lane / 16 * 8) * ld_x0 + lane / 8 % 2 * {piece}"
"""The pieces of the second operand: both halves of the terms, then the next 8 columns."""

_BY_ELEMENTS: Final = """\
const int row = threadIdx.x % 4 * {pack}, col = threadIdx.x / 4;
#pragma unroll
for (int n = 0; n < {held}; ++n)
  o0[n] = x0[(row + n % {pack} + n / {pack} % 2 * {step}) * ld_x0 + col + n / {both} * 8];"""
"""Each thread's words of the second operand: terms side by side, then the other half of them."""

_MMA: Final = """\
const unsigned *a = (const unsigned *)x0, *b = (const unsigned *)x1;
{sums}#pragma unroll
for (int h = 0; h < 2; ++h)
  asm volatile("mma.sync.aligned.{shape}.row.col.{types} {{{outs}}}, "
               "{{%{a0}, %{a1}, %{a2}, %{a3}}}, {{%{b0}, %{b1}}}, {{{outs}}};"
               : {constraints}
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[h * 2]), "r"(b[h * 2 + 1]));
(void)x2;"""

_STORE: Final = """\
const int row = threadIdx.x / 4, col = threadIdx.x % 4 * 2;
#pragma unroll
for (int h = 0; h < 4; ++h) {{
  {pair} *at = ({pair} *)(o0 + (row + h % 2 * 8) * ld_o0 + col + h / 2 * 8);
  *at = *(const {pair} *)(x0 + h * 2);
}}"""


def _mma_text(shape: str, types: str, registers: int, letter: str) -> str:
    """One product of 16 rows and twice 8 columns; sums are held as float, int or pairs of half."""
    outs = ", ".join(f"%{n}" for n in range(registers))
    names = {f"a{n}": registers + n for n in range(4)} | {
        f"b{n}": registers + 4 + n for n in (0, 1)
    }
    held = "d" if letter == "r" and "f16.f16.f16.f16" in types else "o0"
    sums = "unsigned *d = (unsigned *)o0;\n" if held == "d" else ""
    constraints = ", ".join(f'"+{letter}"({held}[h * {registers} + {n}])' for n in range(registers))
    return _MMA.format(
        shape=shape, types=types, outs=outs, sums=sums, constraints=constraints, **names
    )


def _group(
    name: str,
    operand: str,
    sums: str,
    terms: int,
    instruction: str,
    types: str,
    order: Order,
    features: tuple[str, ...],
    speed: int,
) -> str:
    """Register the intrinsics of one kind of product."""
    dtype, wide = DType.of(operand), DType.of(sums)
    piece = 16 // dtype.bytes
    a = Param(dtype, (16, terms), "wmma.matrix_a")
    flat = (terms, 16) if order == "kn" else (16, terms)
    b = Param(dtype, flat, "wmma.matrix_b")
    c = Param(wide, _TILE, "wmma.accumulator")
    by_rows = _LDMATRIX.format(address=_BY_ROWS.format(piece=piece), trans="")
    if order == "kn" and dtype.bytes != 2:
        pack = 4 // dtype.bytes
        by_terms = _BY_ELEMENTS.format(pack=pack, held=4 * pack, step=4 * pack, both=2 * pack)
    elif order == "kn":
        # Rows of terms come transposed: the first pieces are the two halves of the terms.
        by_terms = _LDMATRIX.format(address=_BY_ROWS.format(piece=piece), trans=".trans")
    else:
        by_terms = _LDMATRIX.format(address=_BY_TERMS.format(piece=piece), trans="")
    load_a = copy(
        f"{name}_load_a", Param(dtype, a.shape, "shared"), a, by_rows, _WARP, ("ldmatrix",)
    )
    load_b = copy(
        f"{name}_load_b", Param(dtype, b.shape, "shared"), b, by_terms, _WARP, ("ldmatrix",)
    )
    clear = f"for (int n = 0; n < 8; ++n) o0[n] = {'0' if not wide.is_float else '0.0f'};"
    registers, letter = (2, "r") if sums == "float16" else (4, "f" if wide.is_float else "r")
    pair = {"float32": "float2", "float16": "unsigned", "int32": "int2"}[sums]
    GROUPS.register(
        name,
        TensorCoreGroup(
            name, (16, 16, terms), (operand, sums), order, _WARP,
            Operand(load_a, "wmma.matrix_a", pad=piece),
            Operand(load_b, "wmma.matrix_b", pad=piece),
            zero(f"{name}_zero", c, clear, _WARP),
            product(
                f"{name}_mma", (16, 16, terms), (a, b, c),
                (ROWS, COLUMNS if order == "kn" else ROWS),
                _mma_text(instruction, types, registers, letter), _WARP, features,
            ),
            copy(
                f"{name}_store", c, Param(wide, _TILE, "global"), _STORE.format(pair=pair), _WARP
            ),
            features, speed, rounds="tf32" in types,
        ),
    )  # fmt: skip
    return name


_KINDS: Final[tuple[tuple[str, str, str, int, str, str, str], ...]] = (
    ("mma_f16_f32", "float16", "float32", 16, "m16n8k16", "f32.f16.f16.f32", "f16"),
    ("mma_f16_f16", "float16", "float16", 16, "m16n8k16", "f16.f16.f16.f16", "f16"),
    ("mma_bf16_f32", "bfloat16", "float32", 16, "m16n8k16", "f32.bf16.bf16.f32", "bf16"),
    ("mma_s8_s32", "int8", "int32", 32, "m16n8k32", "s32.s8.s8.s32", "s8"),
    ("mma_tf32_f32", "float32", "float32", 8, "m16n8k8", "f32.tf32.tf32.f32", "tf32"),
)
_ORDERS: Final[tuple[Order, ...]] = ("kn", "nk")

MMA_SYNC: Final = tuple(
    _group(f"{name}_{order}", a, c, k, shape, types, order, (f"mma_{shape}_{feature}",), 10)
    for name, a, c, k, shape, types, feature in _KINDS
    for order in _ORDERS
)
"""The names of the groups."""
