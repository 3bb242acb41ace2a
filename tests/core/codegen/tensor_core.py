"""A product on tensor cores by hand: what intrinsics look like to lowering and printing."""

from __future__ import annotations

from metasched import ops
from metasched.ir.dtype import DType
from metasched.ir.expr import cast
from metasched.ir.procedure import PROCEDURES, Param, Procedure
from metasched.ir.stmt import Program
from metasched.schedule.schedule import Schedule
from metasched.target.intrinsics.tensor_intrin import TensorIntrin, register_intrin

HALF, FLOAT = DType("float", 16), DType("float", 32)
A = Param(HALF, (16, 16), "wmma.matrix_a")
B = Param(HALF, (16, 8), "wmma.matrix_b")
C = Param(FLOAT, (16, 8), "wmma.accumulator")

_MMA = """\
const unsigned *a = (const unsigned *)x0, *b = (const unsigned *)x1;
asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
             "{%8,%9}, {%0,%1,%2,%3};"
             : "+f"(o0[0]), "+f"(o0[1]), "+f"(o0[2]), "+f"(o0[3])
             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
(void)x2;"""
_LOAD_A = """\
unsigned *r = (unsigned *)o0;
const int lane = threadIdx.x;
const unsigned at = __cvta_generic_to_shared(x0 + lane % 16 * ld_x0 + lane / 16 * 8);
asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
             : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at));"""
_LOAD_B = """\
unsigned *r = (unsigned *)o0;
const unsigned at = __cvta_generic_to_shared(x0 + (int)threadIdx.x % 16 * ld_x0);
asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
             : "=r"(r[0]), "=r"(r[1]) : "r"(at));"""
_STORE = """\
const int row = threadIdx.x / 4, col = threadIdx.x % 4 * 2;
o0[row * ld_o0 + col] = x0[0];
o0[row * ld_o0 + col + 1] = x0[1];
o0[(row + 8) * ld_o0 + col] = x0[2];
o0[(row + 8) * ld_o0 + col + 1] = x0[3];"""

_COPY = """\
@program
def {name}(s: Buffer(({m}, {n}), "{dtype}", scope="{source}"), \
t: Buffer(({m}, {n}), "{dtype}", scope="{target}")):
"""
_COPY_DESCRIPTION = """\
    for i in serial({m}):
        for j in serial({n}):
            with block("copy"):
                vi = spatial({m}, i)
                vj = spatial({n}, j)
                reads(s[vi, vj])
                writes(t[vi, vj])
                t[vi, vj] = s[vi, vj]"""


def _copy(name: str, source: Param, target: Param, text: str) -> None:
    PROCEDURES.register(
        name,
        Procedure(
            name, (target,), (source,), target.shape,
            lambda v, o, x: (o[0][v[0], v[1]], x[0][v[0], v[1]]),
            {"cuda": text}, features=("ldmatrix",),
        ),
    )  # fmt: skip
    m, n = target.shape
    head = _COPY.format(
        name=name, m=m, n=n, dtype=target.dtype, source=source.scope, target=target.scope
    )
    body = f'    invoke("{name}", [t[0, 0]], s[0, 0])'
    register_intrin(TensorIntrin.of(name, head + _COPY_DESCRIPTION.format(m=m, n=n), head + body))


_HEAD = """\
@program
def mma(a: Buffer((16, 16), "float16", scope="wmma.matrix_a"), \
b: Buffer((16, 8), "float16", scope="wmma.matrix_b"), \
c: Buffer((16, 8), "float32", scope="wmma.accumulator")):
"""
_PRODUCT = """\
    for i in serial(16):
        for j in serial(8):
            for k in serial(16):
                with block("mma"):
                    vi = spatial(16, i)
                    vj = spatial(8, j)
                    vk = reduce(16, k)
                    reads(c[vi, vj], a[vi, vk], b[vk, vj])
                    writes(c[vi, vj])
                    c[vi, vj] = c[vi, vj] + cast(a[vi, vk], "float32") * \
cast(b[vk, vj], "float32")"""
_ZERO = """\
@program
def zero(c: Buffer((16, 8), "float32", scope="wmma.accumulator")):
"""
_FILL = """\
    for i in serial(16):
        for j in serial(8):
            with block("zero"):
                vi = spatial(16, i)
                vj = spatial(8, j)
                writes(c[vi, vj])
                c[vi, vj] = float32(0.0)"""


def register() -> None:
    """Make the intrinsics of these tests known, once."""
    if "test_mma" in PROCEDURES:
        return
    PROCEDURES.register(
        "test_mma",
        Procedure(
            "test_mma", (C,), (A, B, C), (16, 8, 16),
            lambda v, o, x: (
                o[0][v[0], v[1]],
                x[2][v[0], v[1]] + cast(x[0][v[0], v[2]], FLOAT) * cast(x[1][v[2], v[1]], FLOAT),
            ),
            {"cuda": _MMA}, features=("mma_m16n8k16_f16",),
        ),
    )  # fmt: skip
    PROCEDURES.register(
        "test_zero",
        Procedure(
            "test_zero", (C,), (), (16, 8),
            lambda v, o, x: (o[0][v[0], v[1]], cast(v[0] * 0, FLOAT)),
            {"cuda": "o0[0] = o0[1] = o0[2] = o0[3] = 0.0f;"},
        ),
    )  # fmt: skip
    call = '    invoke("test_mma", [c[0, 0]], a[0, 0], b[0, 0], c[0, 0])'
    register_intrin(TensorIntrin.of("test_mma", _HEAD + _PRODUCT, _HEAD + call))
    fill = '    invoke("test_zero", [c[0, 0]])'
    register_intrin(TensorIntrin.of("test_zero", _ZERO + _FILL, _ZERO + fill))
    _copy("test_load_a", Param(HALF, (16, 16), "shared"), A, _LOAD_A)
    _copy("test_load_b", Param(HALF, (16, 8), "shared"), B, _LOAD_B)
    _copy("test_store", C, Param(FLOAT, (16, 8), "global"), _STORE)


def matmul(m: int, n: int, k: int, dtype: str = "float16") -> Program:
    """Warps of 32 x 16 results, two by two in a block."""
    register()
    schedule = Schedule(ops.matmul(m=m, n=n, k=k, dtype=dtype, acc_dtype="float32"), seed=0)
    product = schedule.get_block("c")
    result = schedule.cache_write(product, 0, "wmma.accumulator")
    i, j, r = schedule.get_loops(product)
    i0, i1, i2, i3 = schedule.split(i, [None, 2, 2, 16])
    j0, j1, j2, j3 = schedule.split(j, [None, 2, 2, 8])
    r0, r1, r2 = schedule.split(r, [None, 2, 16])
    schedule.reorder(i0, j0, i1, j1, r0, r1, i2, j2, i3, j3, r2)
    schedule.bind(i0, "blockIdx.y")
    schedule.bind(j0, "blockIdx.x")
    warp = schedule.fuse(i1, j1)
    schedule.bind(warp, "threadIdx.y")
    schedule.reverse_compute_at(result, warp, preserve_unit_loops=True)
    for number, scope in ((0, "wmma.matrix_a"), (1, "wmma.matrix_b")):
        shared = schedule.cache_read(product, number, "shared")
        fragment = schedule.cache_read(product, number, scope)
        schedule.compute_at(fragment, r1, preserve_unit_loops=True)
        schedule.compute_at(shared, r0, preserve_unit_loops=True)
        fused = schedule.fuse(*schedule.get_loops(shared)[-2:])
        _, y, x, vector = schedule.split(fused, [None, 4, 32, 8])
        schedule.bind(y, "threadIdx.y")
        schedule.bind(x, "threadIdx.x")
        schedule.vectorize(vector)
        _tile(schedule, fragment, (16, 16 if number == 0 else 8), "test_load_" + "ab"[number])
    _tile(schedule, result, (16, 8), "test_store")
    start = schedule.decompose_reduction(product, r0)
    schedule.tensorize(schedule.get_loops(start)[-2], "test_zero")
    schedule.tensorize(i3, "test_mma")
    return schedule.program


def _tile(schedule: Schedule, block: str, shape: tuple[int, int], intrin: str) -> None:
    rows, columns = schedule.get_loops(block)[-2:]
    row, within = schedule.split(rows, [None, shape[0]])
    column, inside = schedule.split(columns, [None, shape[1]])
    schedule.reorder(row, column, within, inside)
    schedule.tensorize(within, intrin)
