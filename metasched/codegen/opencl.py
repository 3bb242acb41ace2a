"""OpenCL C as data: the tables that `gpu` prints with."""

from __future__ import annotations

from typing import Final

from metasched.codegen.c import C
from metasched.codegen.dialect import Dialect
from metasched.codegen.gpu_dialect import GpuDialect
from metasched.codegen.gpu_source import Dim3
from metasched.ir.dtype import DType

_TYPES: Final[dict[str, str]] = {
    "bool": "uchar",
    "int8": "char",
    "int16": "short",
    "int32": "int",
    "int64": "long",
    "uint8": "uchar",
    "uint16": "ushort",
    "uint32": "uint",
    "uint64": "ulong",
    "bfloat16": "ushort",
    "float32": "float",
    "float64": "double",
}

_KEYWORDS: Final = """
    kernel global local constant private read_only write_only uniform pipe half quad complex
    imaginary uchar ushort uint ulong size_t ptrdiff_t image2d_t sampler_t event_t
    min max exp log sqrt rsqrt erf tanh pow floor abs round clamp mix step sign dot cross length
    select any all isnan isinf vload4 vstore4 as_float as_int as_uint barrier
""".split()

_FLOAT: Final = {
    "exp": "exp(a)",
    "log": "log(a)",
    "sqrt": "sqrt(a)",
    "rsqrt": "rsqrt(a)",
    "erf": "erf(a)",
    "tanh": "tanh(a)",
    "sigmoid": "1 / (1 + exp(-a))",
    "abs": "fabs(a)",
    "floor": "floor(a)",
    "round": "rint(a)",
    "pow": "pow(a, b)",
    "min": "a < b ? a : b",
    "max": "a > b ? a : b",
}


def _header(types: frozenset[str], half: bool) -> list[str]:
    extensions = {"float64": "cl_khr_fp64", **({"float16": "cl_khr_fp16"} if half else {})}
    used = [extensions[t] for t in sorted(extensions) if t in types]
    return [f"#pragma OPENCL EXTENSION {name} : enable" for name in used]


def _kernel(name: str, block: Dim3, params: str) -> str:
    size = ", ".join(map(str, block))
    return f"__kernel __attribute__((reqd_work_group_size({size}))) void {name}({params})"


def _base(half: str) -> Dialect:
    stored = {DType("bfloat", 16), *([DType("float", 16)] if half != "half" else [])}
    types = {**_TYPES, "float16": half}
    return Dialect(
        name="OpenCL C",
        types=types,
        stored=frozenset(stored),
        keywords=C.keywords | frozenset(_KEYWORDS),
        infix=C.infix,
        prelude=C.prelude,
        pin="",
        pinned_bytes=frozenset(),
        parallel=C.parallel,
        vector=lambda dtype: f"{types[str(dtype.scalar)]}{dtype.lanes}",
    )


def opencl(*, half: bool) -> GpuDialect:
    """The tables; float16 is only stored where the device lacks it (``cl_khr_fp16``)."""
    return GpuDialect(
        language="opencl",
        base=_base("half" if half else "ushort"),
        header=lambda types: _header(types, half),
        axes={
            **{f"blockIdx.{axis}": f"get_group_id({n})" for n, axis in enumerate("xyz")},
            **{f"threadIdx.{axis}": f"get_local_id({n})" for n, axis in enumerate("xyz")},
        },
        barrier="barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);",
        spaces={
            "global": "__global ",
            "shared": "__local ",
            "shared.dyn": "__local ",
            "local": "",
        },
        restrict="restrict",
        shared=lambda kind, name, size: (
            f"__local {kind} {name}[{size}] __attribute__((aligned(128)));"
        ),
        kernel=_kernel,
        unroll="#pragma unroll",
        function="static inline",
        helpers={"f16": _FLOAT, "f32": _FLOAT, "f64": _FLOAT},
        special={
            "f32": ("NAN", "INFINITY"),
            "f64": ("as_double(0x7ff8000000000000L)", "as_double(0x7ff0000000000000L)"),
        },
        typedef=lambda dtype: "",
        literal=lambda kind, lanes: f"({kind})({', '.join(lanes)})",
        lane=lambda name, lane: f"{name}.s{lane:x}",
        wide="long",
        aligned="",
        # PoCL 3.0 drops the stores of what is first set under a condition in a loop.
        initial=" = {0}",
    )
