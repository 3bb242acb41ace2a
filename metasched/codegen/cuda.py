"""CUDA C as data: the tables that `gpu` prints with."""

from __future__ import annotations

from typing import Final

from metasched.codegen.c import C
from metasched.codegen.dialect import Dialect, short_name
from metasched.codegen.gpu_dialect import GpuDialect
from metasched.codegen.gpu_source import Dim3
from metasched.ir.dtype import DType

_TYPES: Final[dict[str, str]] = {
    "bool": "bool",
    "int8": "signed char",
    "int16": "short",
    "int32": "int",
    "int64": "long long",
    "uint8": "unsigned char",
    "uint16": "unsigned short",
    "uint32": "unsigned int",
    "uint64": "unsigned long long",
    "float16": "__half",
    "bfloat16": "unsigned short",
    "float32": "float",
    "float64": "double",
}

_KEYWORDS: Final = """
    alignas alignof and and_eq asm bitand bitor catch char16_t char32_t class compl constexpr
    const_cast decltype delete dynamic_cast explicit export false friend half mutable namespace new
    noexcept not not_eq nullptr operator or or_eq private protected public reinterpret_cast
    static_assert static_cast template this thread_local throw true try typeid typename using
    virtual wchar_t xor xor_eq blockIdx threadIdx blockDim gridDim warpSize ms_shared
    min max exp log sqrt rsqrt erf tanh pow floor abs round
""".split()

_FLOAT: Final = {
    "exp": "exp{f}(a)",
    "log": "log{f}(a)",
    "sqrt": "sqrt{f}(a)",
    "rsqrt": "rsqrt{f}(a)",
    "erf": "erf{f}(a)",
    "tanh": "tanh{f}(a)",
    "sigmoid": "1 / (1 + exp{f}(-a))",
    "abs": "fabs{f}(a)",
    "floor": "floor{f}(a)",
    "round": "rint{f}(a)",
    "pow": "pow{f}(a, b)",
    "min": "a < b ? a : b",
    "max": "a > b ? a : b",
}


def _half(text: str) -> str:
    """A float32 expression on values of float16."""
    if "?" in text:
        return text
    wide = text.replace("{f}", "f").replace("(-a)", "(-__half2float(a))")
    wide = wide.replace("(a)", "(__half2float(a))")
    return f"__float2half({wide.replace('(a, b)', '(__half2float(a), __half2float(b))')})"


def _kernel(name: str, block: Dim3, params: str) -> str:
    threads = block[0] * block[1] * block[2]
    return f'extern "C" __global__ void __launch_bounds__({threads}) {name}({params})'


def _typedef(dtype: DType) -> str:
    size = dtype.bytes
    element = _TYPES[str(dtype.scalar)]
    return f"struct __align__({size}) {short_name(dtype)} {{ {element} v[{dtype.lanes}]; }};"


CUDA: Final = GpuDialect(
    language="cuda",
    base=Dialect(
        name="CUDA C",
        types=_TYPES,
        keywords=C.keywords | frozenset(_KEYWORDS),
        infix=C.infix,
        prelude=C.prelude,
        pin="",
        pinned_bytes=frozenset(),
        parallel=C.parallel,
    ),
    header=lambda types: ["#include <cuda_fp16.h>"] if "float16" in types else [],
    axes={
        f"{group}.{axis}": f"{group}.{axis}"
        for group in ("blockIdx", "threadIdx")
        for axis in "xyz"
    },
    barrier="__syncthreads();",
    spaces={"global": "", "shared": "", "shared.dyn": "", "local": ""},
    restrict="__restrict__",
    shared=lambda kind, name, size: f"__shared__ __align__(128) {kind} {name}[{size}];",
    kernel=_kernel,
    unroll="#pragma unroll",
    function="static __device__ __forceinline__",
    helpers={
        "f16": {fn: _half(text) for fn, text in _FLOAT.items()},
        "f32": {fn: text.replace("{f}", "f") for fn, text in _FLOAT.items()},
        "f64": {fn: text.replace("{f}", "") for fn, text in _FLOAT.items()},
    },
    special={
        "f32": ("__int_as_float(0x7fc00000)", "__int_as_float(0x7f800000)"),
        "f64": (
            "__longlong_as_double(0x7ff8000000000000LL)",
            "__longlong_as_double(0x7ff0000000000000LL)",
        ),
    },
    typedef=_typedef,
    literal=lambda kind, lanes: f"{kind}{{{{{', '.join(lanes)}}}}}",
    lane=lambda name, lane: f"{name}.v[{lane}]",
    wide="long long",
    aligned="__align__(16) ",
    initial="",
)


def copy_function(size: int) -> str:
    """The function that starts a copy of some bytes to shared memory."""
    cache = "cg" if size == 16 else "ca"
    return (
        f"{CUDA.function} void ms_cp_async_{size}(void *to, const void *from) {{\n"
        f'  asm volatile("cp.async.{cache}.shared.global [%0], [%1], {size};"\n'
        '               :: "r"((unsigned)__cvta_generic_to_shared(to)), "l"(from) : "memory");\n}'
    )
