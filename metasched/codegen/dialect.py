"""A C-like language as data: what differs between C, CUDA C and OpenCL C.

`c_family` prints with these tables; a new language is a new `Dialect` and its prelude.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from metasched.errors import CodegenError
from metasched.ir.dtype import DType

Helper: TypeAlias = tuple[str, DType]
"""A function of the prelude: its name and the type that it works on."""

_SHORT = {"float": "f", "int": "i", "uint": "u", "bool": "b"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """One language of the C family.

    Args:
        name: how errors call it.
        types: the spelling of each scalar type that the language has.
        keywords: words that cannot name variables.
        infix: sign and binding strength of the binary operations that are operators.
        prelude: the text that goes before a kernel, given the vector types and helpers it uses.
        pin: the line that keeps a vector variable, given its bytes and name, in its register;
            compilers would otherwise load an operand anew at each use.
        pinned_bytes: the sizes of vectors that it is there for.
        parallel: the line before a parallel loop, given the number of threads.
        stored: the types of 16 bits that are only stored, as bits, and computed with in another.
        vector: the spelling of a vector type.
    """

    name: str
    types: Mapping[str, str]
    keywords: frozenset[str]
    infix: Mapping[str, tuple[str, int]]
    prelude: Callable[[Iterable[DType], Iterable[Helper]], str]
    pin: str
    pinned_bytes: frozenset[int]
    parallel: Callable[[int], str]
    vector: Callable[[DType], str] = lambda dtype: short_name(dtype)
    stored: frozenset[DType] = frozenset({DType("bfloat", 16)})

    def scalar(self, dtype: DType) -> str:
        """The spelling of a scalar type.

        Raises:
            CodegenError: the language (as we use it) lacks the type.
        """
        try:
            return self.types[str(dtype.scalar)]
        except KeyError:
            raise CodegenError(
                f"{self.name} has no type for {dtype.scalar}; use one of {', '.join(self.types)}"
            ) from None

    def typename(self, dtype: DType) -> str:
        """The spelling of a scalar or vector type."""
        return self.scalar(dtype) if dtype.lanes == 1 else self.vector(dtype)


def short_name(dtype: DType) -> str:
    """A name such as ``f32x16`` for identifiers.

    >>> short_name(DType("float", 32, 16))
    'f32x16'
    """
    base = f"{_SHORT.get(dtype.code, dtype.code)}{dtype.bits}"
    return base if dtype.lanes == 1 else f"{base}x{dtype.lanes}"


def mask_dtype(dtype: DType) -> DType:
    """The integer type of a comparison of vectors: all bits set where it holds."""
    return DType("int", dtype.bits, dtype.lanes)


def extern_name(fn: str) -> str:
    """The name of an extern function in the printed text.

    >>> extern_name("dot")
    'ms_x_dot'
    """
    return f"ms_x_{fn}"
