"""The text before a C kernel: vector types and exactly the helper functions that it calls.

A helper is known by its name and the type it works on, such as ``("exp", float32x16)``; its C name
is ``ms_exp_f32x16``. Most are one scalar expression, applied to each lane of a vector in a loop of
constant length, which gcc and clang turn into vector instructions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from metasched.codegen.c_math import MATH
from metasched.codegen.dialect import Helper, extern_name, mask_dtype, short_name
from metasched.errors import CodegenError
from metasched.ir.dtype import DType
from metasched.ir.extern import ExternFunction

C_TYPES: Final[dict[str, str]] = {
    "bool": "_Bool",
    "int8": "int8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "uint8": "uint8_t",
    "uint16": "uint16_t",
    "uint32": "uint32_t",
    "uint64": "uint64_t",
    "float16": "_Float16",
    "bfloat16": "uint16_t",
    "float32": "float",
    "float64": "double",
}

_FLOAT_LANES: Final[dict[str, str]] = {
    "exp": "exp{f}(a)",
    "log": "log{f}(a)",
    "sqrt": "sqrt{f}(a)",
    "rsqrt": "1 / sqrt{f}(a)",
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
_INT_LANES: Final[dict[str, str]] = {
    "abs": "a < 0 ? -a : a",
    "floor": "a",
    "round": "a",
    "min": "a < b ? a : b",
    "max": "a > b ? a : b",
    "floordiv": "a / b - (a % b != 0 && (a % b < 0) != (b < 0))",
    "floormod": "a % b + (a % b != 0 && (a % b < 0) != (b < 0) ? b : 0)",
}
PIN: Final = """\
#if defined(__AVX512F__)
#define MS_PIN_64(x) __asm__("" : "+v"(x))
#define MS_PIN_32(x) __asm__("" : "+v"(x))
#define MS_PIN_16(x) __asm__("" : "+v"(x))
#elif defined(__AVX__)
#define MS_PIN_64(x) ((void)0)
#define MS_PIN_32(x) __asm__("" : "+x"(x))
#define MS_PIN_16(x) __asm__("" : "+x"(x))
#elif defined(__SSE2__)
#define MS_PIN_64(x) ((void)0)
#define MS_PIN_32(x) ((void)0)
#define MS_PIN_16(x) __asm__("" : "+x"(x))
#elif defined(__aarch64__)
#define MS_PIN_64(x) ((void)0)
#define MS_PIN_32(x) ((void)0)
#define MS_PIN_16(x) __asm__("" : "+w"(x))
#else
#define MS_PIN_64(x) ((void)0)
#define MS_PIN_32(x) ((void)0)
#define MS_PIN_16(x) ((void)0)
#endif"""
"""Keeps a vector of so many bytes in a register, where the machine has registers of that size.

With gcc 12 a tile of 4 x 4 goes from 55 to 98 % of the peak."""

PINNED_BYTES: Final = frozenset({16, 32, 64})
"""The sizes of vectors that can be pinned."""

_TWO: Final = frozenset({"pow", "min", "max", "floordiv", "floormod"})
_INLINE: Final = "static inline __attribute__((always_inline))"


def prelude(vectors: Iterable[DType], helpers: Iterable[Helper]) -> str:
    """Vector types and helpers (with the helpers that those call), each once, sorted."""
    needed: dict[Helper, str] = {}
    for fn, dtype in sorted(helpers, key=_helper_key):
        _add(fn, dtype, needed)
    types = {d for d in vectors if d.lanes > 1}
    for fn, dtype in needed:
        if dtype.lanes > 1:
            types |= {dtype} | ({mask_dtype(dtype)} if fn in _MASKED else set())
            if fn in ("widen", "narrow"):
                types |= {DType(code, 32, dtype.lanes) for code in ("float", "uint")}
    typedefs = [_typedef(d) for d in sorted(types, key=lambda d: (d.code, d.bits, d.lanes))]
    return "\n".join((*typedefs, "", *needed.values()))


def c_extern(function: ExternFunction) -> str:
    """The definition of an extern function."""
    params = ", ".join(f"{c_type(t)} x{k}" for k, t in enumerate(function.args))
    body = "\n".join(f"  {line}" for line in function.c.strip().splitlines())
    head = f"{_INLINE} {c_type(function.result)} {extern_name(function.name)}({params})"
    return f"{head} {{\n{body}\n}}"


def _helper_key(helper: Helper) -> tuple[str, str, int, int]:
    fn, dtype = helper
    return fn, dtype.code, dtype.bits, dtype.lanes


def _add(fn: str, dtype: DType, needed: dict[Helper, str]) -> None:
    if (fn, dtype) in needed:
        return
    if dtype.scalar == DType("float", 32) and fn in MATH:
        for other in MATH[fn][0]:
            _add(other, dtype, needed)
    needed[fn, dtype] = _define(fn, dtype)


def _typedef(dtype: DType) -> str:
    name, scalar = short_name(dtype), c_vector_element(dtype)
    size = dtype.bits // 8
    vector = f"vector_size({size * dtype.lanes})"
    return (
        f"typedef {scalar} {name} __attribute__(({vector}));\n"
        f"typedef {scalar} {name}_u __attribute__(({vector}, aligned({size}), may_alias));"
    )


def c_vector_element(dtype: DType) -> str:
    """The element type of a C vector; bytes stand for bools, which vectors cannot hold."""
    return "int8_t" if dtype.code == "bool" else C_TYPES[str(dtype.scalar)]


def c_type(dtype: DType) -> str:
    """The C name of a scalar or vector type."""
    return C_TYPES[str(dtype)] if dtype.lanes == 1 else short_name(dtype)


def _define(fn: str, dtype: DType) -> str:
    if fn in _SPECIAL:
        return _SPECIAL[fn](dtype)
    head = f"{_INLINE} {c_type(dtype)} ms_{fn}_{short_name(dtype)}"
    if dtype.scalar == DType("float", 32) and fn in MATH:
        return f"{head}({c_type(dtype)} x) {{\n{_math_body(fn, dtype)}}}"
    if fn in ("min", "max") and dtype.lanes > 1:
        return _extremum(fn, dtype)
    lanes = _FLOAT_LANES if dtype.is_float else _INT_LANES
    if fn not in lanes:
        raise CodegenError(f"C has no '{fn}' for {dtype.scalar}; cast the argument to float32")
    expr = lanes[fn].format(f="" if dtype.bits == 64 else "f")
    params = f"{c_type(dtype)} a" + (f", {c_type(dtype)} b" if fn in _TWO else "")
    if dtype.lanes == 1:
        return f"{head}({params}) {{\n  return {expr};\n}}"
    params = params.replace(" a", " va").replace(" b", " vb")
    scalar = c_vector_element(dtype)
    second = ", b = vb[i]" if fn in _TWO else ""
    return (
        f"{head}({params}) {{\n  {c_type(dtype)} r;\n"
        f"  for (int i = 0; i < {dtype.lanes}; ++i) {{\n"
        f"    const {scalar} a = va[i]{second};\n    r[i] = {expr};\n  }}\n  return r;\n}}"
    )


def _math_body(fn: str, dtype: DType) -> str:
    calls, body = MATH[fn]
    for other in calls:
        body = body.replace(f"{other.upper()}(", f"ms_{other}_{short_name(dtype)}(")
    integer = c_type(DType("int", 32, dtype.lanes))
    text = body.replace("(T)", f"({c_type(dtype)})")
    words = {"T": c_type(dtype), "I": integer}
    lines = (_typed(line, words) for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines)


def _typed(line: str, words: dict[str, str]) -> str:
    """A declaration's leading type word spelled out."""
    indent = line[: len(line) - len(line.lstrip())]
    parts = line.split()
    for n, word in enumerate(parts[:2]):
        parts[n] = words.get(word, word)
    return indent + " ".join(parts)


def _splat(dtype: DType) -> str:
    name, vector = short_name(dtype), c_type(dtype)
    lanes = ", ".join(["a"] * dtype.lanes)
    return (
        f"{_INLINE} {vector} ms_splat_{name}({c_vector_element(dtype)} a) {{\n"
        f"  return ({vector}){{{lanes}}};\n}}"
    )


def _select(dtype: DType) -> str:
    name, value, mask = short_name(dtype), c_type(dtype), c_type(mask_dtype(dtype))
    result = f"({value})((({mask})a & m) | (({mask})b & ~m))" if dtype.lanes > 1 else "m ? a : b"
    return (
        f"{_INLINE} {value} ms_select_{name}({mask} m, {value} a, {value} b) {{\n"
        f"  return {result};\n}}"
    )


def _extremum(fn: str, dtype: DType) -> str:
    """Smallest or largest lanes by masks; gcc takes apart loops over lanes inside reductions."""
    vector, mask = c_type(dtype), c_type(mask_dtype(dtype))
    return (
        f"{_INLINE} {vector} ms_{fn}_{short_name(dtype)}({vector} a, {vector} b) {{\n"
        f"  const {mask} m = a {'<' if fn == 'min' else '>'} b;\n"
        f"  return ({vector})((({mask})a & m) | (({mask})b & ~m));\n}}"
    )


def _reinterpret(name: str, source: str, to: str, *, vector: bool) -> str:
    if vector:
        return f"{_INLINE} {to} {name}({source} a) {{\n  return ({to})a;\n}}"
    return (
        f"{_INLINE} {to} {name}({source} a) {{\n"
        f"  {to} r;\n  __builtin_memcpy(&r, &a, sizeof r);\n  return r;\n}}"
    )


def _bits(dtype: DType) -> str:
    names = c_type(dtype), c_type(mask_dtype(dtype))
    return _reinterpret(f"ms_bits_{short_name(dtype)}", *names, vector=dtype.lanes > 1)


def _real(dtype: DType) -> str:
    names = c_type(mask_dtype(dtype)), c_type(dtype)
    return _reinterpret(f"ms_real_{short_name(dtype)}", *names, vector=dtype.lanes > 1)


def _tofloat(dtype: DType) -> str:
    value, mask = c_type(dtype), c_type(mask_dtype(dtype))
    result = f"__builtin_convertvector(a, {value})" if dtype.lanes > 1 else f"({value})a"
    name = f"ms_tofloat_{short_name(dtype)}"
    return f"{_INLINE} {value} {name}({mask} a) {{\n  return {result};\n}}"


def _widen(dtype: DType) -> str:
    """bfloat16, held as bits, to float32: its bits are the upper half."""
    value, wide, bits = c_type(dtype), *_wide_types(dtype)
    name = f"ms_widen_{short_name(dtype)}"
    if dtype.lanes > 1:
        shifted = f"__builtin_convertvector(a, {bits}) << 16"
        return f"{_INLINE} {wide} {name}({value} a) {{\n  return ({wide})({shifted});\n}}"
    return (
        f"{_INLINE} {wide} {name}({value} a) {{\n  const {bits} u = ({bits})a << 16;\n"
        f"  {wide} r;\n  __builtin_memcpy(&r, &u, sizeof r);\n  return r;\n}}"
    )


def _narrow(dtype: DType) -> str:
    """float32 to bfloat16, halves to even; a NaN stays one."""
    value, wide, bits = c_type(dtype), *_wide_types(dtype)
    head = f"{_INLINE} {value} ms_narrow_{short_name(dtype)}({wide} a) {{\n"
    rounded = "(u + 0x7fffu + (u >> 16 & 1u)) >> 16"
    if dtype.lanes > 1:
        return (
            f"{head}  const {bits} u = ({bits})a, nan = ({bits})(a != a);\n"
            f"  return __builtin_convertvector(({rounded} & ~nan) | (nan & 0x7fc0u), {value});\n}}"
        )
    return (
        f"{head}  {bits} u;\n  __builtin_memcpy(&u, &a, sizeof u);\n"
        f"  return a != a ? 0x7fc0u : {rounded};\n}}"
    )


def _wide_types(dtype: DType) -> tuple[str, str]:
    return c_type(DType("float", 32, dtype.lanes)), c_type(DType("uint", 32, dtype.lanes))


_SPECIAL: Final = {
    "widen": _widen,
    "narrow": _narrow,
    "splat": _splat,
    "select": _select,
    "bits": _bits,
    "real": _real,
    "tofloat": _tofloat,
}
_MASKED: Final = frozenset({*_SPECIAL, *MATH, "min", "max"} - {"splat", "widen", "narrow"})
