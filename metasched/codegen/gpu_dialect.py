"""A language of GPU kernels as data: what differs between CUDA C and OpenCL C.

`gpu` prints with these tables; `cuda` and `opencl` hold them. A helper function is one expression
of ``a`` and ``b``, by intrinsic and by kind of number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from metasched.codegen.dialect import Dialect, Helper, short_name
from metasched.codegen.gpu_source import Dim3, Language
from metasched.errors import CodegenError
from metasched.ir.dtype import DType

INTEGER_HELPERS: Final[Mapping[str, str]] = {
    "abs": "a < 0 ? -a : a",
    "floor": "a",
    "round": "a",
    "min": "a < b ? a : b",
    "max": "a > b ? a : b",
    "floordiv": "a / b - (a % b != 0 && (a % b < 0) != (b < 0))",
    "floormod": "a % b + (a % b != 0 && (a % b < 0) != (b < 0) ? b : 0)",
}
"""Expressions that C-like languages have in common."""

_TWO: Final = frozenset({"pow", "min", "max", "floordiv", "floormod"})


@dataclass(frozen=True, slots=True)
class GpuDialect:
    """One language of GPU kernels.

    Args:
        language: its name in a `GpuSource`.
        base: types, operators and keywords.
        header: the lines in front, given the scalar types in use.
        axes: the expression of each thread axis.
        barrier: the statement at which the threads of a block wait.
        spaces: what goes before a pointer's type, by memory scope.
        restrict: how a pointer says that it has no alias.
        shared: the declaration of a block's buffer: type, name, elements.
        kernel: the head of a kernel: name, threads of a block, parameters.
        unroll: the line before a loop to write out.
        function: what goes before the head of a helper.
        helpers: expressions of helpers by number type (``f16``, ``f32``, ``f64``).
        special: not-a-number and infinity by number type.
        typedef: the definition of a vector type, empty where the language has it.
        literal: a vector of given lanes.
        lane: one lane of a vector variable.
        wide: the type of indices that need 64 bits.
        aligned: what makes an array of small elements begin at a whole vector.
        initial: what follows the declaration of what a thread has, where no value does.
    """

    language: Language
    base: Dialect
    header: Callable[[frozenset[str]], list[str]]
    axes: Mapping[str, str]
    barrier: str
    spaces: Mapping[str, str]
    restrict: str
    shared: Callable[[str, str, int], str]
    kernel: Callable[[str, Dim3, str], str]
    unroll: str
    function: str
    helpers: Mapping[str, Mapping[str, str]]
    special: Mapping[str, tuple[str, str]]
    typedef: Callable[[DType], str]
    literal: Callable[[str, list[str]], str]
    lane: Callable[[str, int], str]
    wide: str
    aligned: str
    initial: str

    def helper(self, fn: str, dtype: DType) -> str:
        """The definition of a helper function on scalars.

        Raises:
            CodegenError: the language has no such function.
        """
        kind = self.base.scalar(dtype)
        if fn in ("widen", "narrow"):
            return self._bfloat(fn, kind) if dtype.code == "bfloat" else self._half(fn, kind)
        table = self.helpers.get(short_name(dtype), {}) if dtype.is_float else INTEGER_HELPERS
        if fn not in table:
            raise CodegenError(f"{self.base.name} has no '{fn}' for {dtype}; cast to float32")
        params = f"{kind} a" + (f", {kind} b" if fn in _TWO else "")
        head = f"{self.function} {kind} ms_{fn}_{short_name(dtype)}({params})"
        return f"{head} {{ return {table[fn]}; }}"

    def _bfloat(self, fn: str, kind: str) -> str:
        """bfloat16, held as bits, to float32 and back, halves to even; a NaN stays one."""
        bits = "unsigned int" if self.language == "cuda" else "uint"
        to_float, to_bits = (
            ("__uint_as_float", "__float_as_uint")
            if self.language == "cuda"
            else ("as_float", "as_uint")
        )
        if fn == "widen":
            head = f"{self.function} float ms_widen_bfloat16({kind} a)"
            return f"{head} {{ return {to_float}(({bits})a << 16); }}"
        return (
            f"{self.function} {kind} ms_narrow_bfloat16(float a) {{\n"
            f"  const {bits} u = {to_bits}(a);\n"
            f"  return ({kind})(a != a ? 0x7fc0u : (u + 0x7fffu + (u >> 16 & 1u)) >> 16);\n}}"
        )

    def _half(self, fn: str, kind: str) -> str:
        """float16, held as bits, to float32 and back: OpenCL does that without having the type."""
        if fn == "widen":
            head = f"{self.function} float ms_widen_f16({kind} a)"
            return f"{head} {{ return vload_half(0, (const half *)&a); }}"
        return (
            f"{self.function} {kind} ms_narrow_f16(float a) {{\n"
            f"  {kind} u;\n  vstore_half(a, 0, (half *)&u);\n  return u;\n}}"
        )

    def prelude(self, vectors: Iterable[DType], helpers: Iterable[Helper]) -> list[str]:
        """Vector types and helpers, sorted, each once."""
        wide = sorted({d for d in vectors if d.lanes > 1}, key=str)
        typedefs = [text for d in wide if (text := self.typedef(d))]
        scalar = sorted({(fn, d.scalar) for fn, d in helpers}, key=lambda h: (h[0], str(h[1])))
        return [*typedefs, *(self.helper(fn, d) for fn, d in scalar)]
