"""Products of 64 rows by four warps together, from shared memory: wgmma of Hopper.

Both operands stay in shared memory, as core matrices of 8 x 16 bytes that are each in one piece;
descriptors say how far apart they are. Core matrices lie 16 bytes further apart than they are long:
threads side by side then read whole lines of global memory and write to a bank each. A product goes
on beside the threads until they meet at a barrier or store it.
"""

from __future__ import annotations

from typing import Final

from metasched.ir.dtype import DType
from metasched.ir.procedure import Param
from metasched.target.intrinsics.tensor_core import (
    CORE_COLUMNS,
    CORES,
    GROUPS,
    Operand,
    Order,
    TensorCoreGroup,
    copy,
    product,
    zero,
)

_THREADS: Final = 128
_ROWS: Final = 64
_TERMS: Final = 64
_STEP: Final = 16
"""Terms of one instruction."""

_LAYOUT: Final = "i, k -> [i // 8, k // 8, i % 8, k % 8]"
_FLAT: Final = "a, b, c, d -> [a, b, c * 8 + d]"
"""Core matrices in one piece: what the product takes."""

_OPERAND: Final = Operand(None, "shared", (_LAYOUT, _FLAT), order=(0, 2, 1, 3), pad=8)

_WAIT: Final = 'asm volatile("wgmma.wait_group.sync.aligned 0;" '
"""The products of the thread are done; what follows names what they hold in registers."""

_FENCE: Final = (
    _WAIT + '::: "memory"); asm volatile("fence.proxy.async.shared::cta;" ::: "memory");'
)
"""What products read may be overwritten, and stores come before what the next ones read."""

_DESCRIPTOR: Final = """\
((unsigned long long)(((unsigned)__cvta_generic_to_shared({at}) & 0x3ffff) >> 4) \
| (unsigned long long)(({lead}) * 2 >> 4 & 0x3fff) << 16 \
| (unsigned long long)(({stride}) * 2 >> 4 & 0x3fff) << 32)"""


def _text(columns: int, kind: str, order: Order) -> str:
    """Four instructions of 16 terms.

    Where an operand has terms in rows, core matrices of the next 8 terms follow, and those of the
    next 8 rows (or columns) are a row of them away. A second operand with columns in rows has it
    the other way round. The leading offset is the one along the terms in both cases.
    """
    across = order == "kn"
    lead, stride = ("ld2_x1", "ld_x1") if across else ("ld_x1", "ld2_x1")
    registers = columns // 2
    outs = ", ".join(f"%{n}" for n in range(registers))
    held = ", ".join(f'"+f"(o0[{n}])' for n in range(registers))
    steps = "\n".join(
        f"  const unsigned long long a{step} = "
        + _DESCRIPTOR.format(at=f"x0 + {2 * step} * ld_x0", lead="ld_x0", stride="ld2_x0")
        + f", b{step} = "
        + _DESCRIPTOR.format(at=f"x1 + {2 * step} * {lead}", lead=lead, stride=stride)
        + ";\n"
        f'  asm volatile("wgmma.mma_async.sync.aligned.m64n{columns}k16.f32.{kind}.{kind} '
        f'{{{outs}}}, %{registers}, %{registers + 1}, 1, 1, 1, 0, {int(across)};"\n'
        f'               : {held} : "l"(a{step}), "l"(b{step}));'
        for step in range(_TERMS // _STEP)
    )
    return (
        "{\n"
        '  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");\n'
        f"{steps}\n"
        '  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");\n'
        "}\n"
        "(void)x2;"
    )


def _store(columns: int) -> str:
    held = ", ".join(f'"+f"(sums[{n}])' for n in range(columns // 2))
    return (
        "float *sums = (float *)x0;\n"
        f'{_WAIT}: {held} :: "memory");\n'
        "const int lane = threadIdx.x % 32;\n"
        "const int row = threadIdx.x / 32 * 16 + lane / 4, col = lane % 4 * 2;\n"
        "#pragma unroll\n"
        f"for (int n = 0; n < {columns // 4}; ++n)\n"
        "  *(float2 *)(o0 + (row + n % 2 * 8) * ld_o0 + n / 2 * 8 + col) = "
        "*(const float2 *)(sums + n * 2);"
    )


def _group(operand: str, kind: str, columns: int, order: Order) -> str:
    name = f"wgmma_{kind}_f32_{order}_{columns}"
    across = order == "kn"
    dtype, wide = DType.of(operand), DType.of("float32")
    a = Param(dtype, (_ROWS // 8, _TERMS // 8, 64), "shared")
    cores = (_TERMS // 8, columns // 8) if across else (columns // 8, _TERMS // 8)
    b = Param(dtype, (*cores, 64), "shared")
    c = Param(wide, (_ROWS, columns), "wmma.accumulator")
    features = ("wgmma",)
    clear = f"#pragma unroll\nfor (int n = 0; n < {columns // 2}; ++n) o0[n] = 0.0f;"
    GROUPS.register(
        name,
        TensorCoreGroup(
            name, (_ROWS, columns, _TERMS), (operand, "float32"), order, _THREADS,
            _OPERAND, _OPERAND,
            zero(f"{name}_zero", c, clear, _THREADS),
            product(
                f"{name}_mma", (_ROWS, columns, _TERMS), (a, b, c),
                (CORES, CORE_COLUMNS if across else CORES), _text(columns, kind, order),
                _THREADS, features, _FENCE,
            ),
            copy(
                f"{name}_store", c, Param(wide, c.shape, "global"), _store(columns), _THREADS
            ),
            features, 20,
        ),
    )  # fmt: skip
    return name


_ORDERS: Final[tuple[Order, ...]] = ("kn", "nk")

WGMMA: Final = tuple(
    _group(operand, kind, columns, order)
    for order in _ORDERS
    for columns in (64, 128, 256)
    for operand, kind in (("float16", "f16"), ("bfloat16", "bf16"))
)
"""The names of the groups."""
