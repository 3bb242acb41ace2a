"""Expressions of C-like languages: the half of the printer below statements.

Vector values print as operators on vector types; what no vector instruction computes (gathers,
guarded loads) prints lane by lane. Read `c_family` next.
"""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager

import numpy as np

from metasched.codegen.dialect import Dialect, Helper, extern_name, mask_dtype, short_name
from metasched.errors import CodegenError
from metasched.ir.dtype import FLOAT32, DType
from metasched.ir.expr import (
    COMPARISONS,
    Binary,
    Broadcast,
    Buffer,
    Call,
    Cast,
    Const,
    Expr,
    Extern,
    Load,
    Ramp,
    Select,
    Var,
    cast,
    int_value,
)
from metasched.ir.reference_math import bf16
from metasched.ir.simplify import Simplifier
from metasched.ir.walk import expr_loads

_TERNARY, _UNARY = 1, 12


class ExprPrinter:
    """Prints expressions and collects the types and helpers that they use."""

    def __init__(self, dialect: Dialect, ranges: Mapping[Var, Expr]) -> None:
        self.dialect = dialect
        self.vector_types: dict[DType, None] = {}
        self.helpers: dict[Helper, None] = {}
        self.externs: dict[str, None] = {}
        self._simplify = Simplifier(ranges)
        self._lane: int | None = None
        self._names: dict[str, str] = {}

    # -- names and types -----------------------------------------------------------------------

    def name(self, name: str) -> str:
        """A legal identifier for a name of the program, the same one each time."""
        found = self._names.get(name)
        if found is None:
            found = re.sub(r"\W", "_", name)
            if not found or found[0].isdigit() or found in self.dialect.keywords:
                found = f"v_{found}"
            while found in self._names.values():
                found += "_"
            self._names[name] = found
        return found

    def type(self, dtype: DType) -> str:
        """The spelling of a type, noted for the prelude when it is a vector."""
        if dtype.lanes > 1:
            self.vector_types[dtype] = None
        return self.dialect.typename(dtype)

    def helper(self, fn: str, dtype: DType) -> str:
        """The name of a prelude function, noted for the prelude."""
        self.type(dtype)
        self.helpers[fn, dtype] = None
        return f"ms_{fn}_{short_name(dtype)}"

    # -- expressions ---------------------------------------------------------------------------

    @contextmanager
    def lane(self, lane: int) -> Generator[None]:
        """Inside, vector expressions print as the scalar of one lane."""
        self._lane = lane
        yield
        self._lane = None

    def dtype(self, expr: Expr) -> DType:
        """The type that an expression prints with: a scalar one inside `lane`."""
        return expr.dtype.scalar if self._lane is not None else expr.dtype

    def pointer(self, buffer: Buffer, base: Expr, lanes: int) -> str:
        """The address of ``lanes`` consecutive elements as a pointer to an unaligned vector."""
        vector = self.type(buffer.dtype.with_lanes(lanes))
        return f"({vector}_u *)&{self.element(buffer, base)}"

    def element(self, buffer: Buffer, index: Expr) -> str:
        """One element of a buffer."""
        return f"{self.name(buffer.name)}[{self.expr(index)}]"

    def value(self, expr: Expr, dtype: DType) -> str:
        """An expression as a value to store: vector conditions become 0 and 1."""
        if expr.dtype.code == "bool" and dtype.lanes > 1 and self._lane is None:
            return f"-{self.mask(expr, DType('int', 8, dtype.lanes), _UNARY)}"
        return self.expr(expr)

    def expr(self, expr: Expr, level: int = 0) -> str:
        """An expression, in parentheses if it binds weaker than ``level``."""
        if expr.dtype.lanes > 1 and self._lane is None and self.needs_lanes(expr):
            return self.lanewise(expr)
        match expr:
            case Var():
                return self.name(expr.name)
            case Const():
                return self.const(expr, level)
            case Binary():
                return self.binary(expr, level)
            case Call():
                return self.call(expr, level)
            case Extern():
                return self.extern(expr)
            case Cast():
                return self.cast(expr, level)
            case Select():
                return self.select(expr, level)
            case Load():
                return self.load(expr, level)
            case Broadcast():
                if self._lane is not None:
                    return self.expr(expr.value, level)
                return f"{self.helper('splat', expr.dtype)}({self.expr(expr.value)})"
            case Ramp():
                assert self._lane is not None
                return self.expr(expr.base + expr.stride * self._lane, level)
            case _:
                raise CodegenError(f"{type(expr).__name__} cannot be printed")

    def lanewise(self, expr: Expr) -> str:
        """A vector literal of the lanes."""
        texts: list[str] = []
        for lane in range(expr.dtype.lanes):
            with self.lane(lane):
                texts.append(self.expr(expr, _TERNARY))
        return f"({self.type(expr.dtype)}){{{', '.join(texts)}}}"

    def const(self, expr: Const, level: int) -> str:
        """A literal of exactly the constant's value and type."""
        text = self.literal(expr)
        return f"({text})" if text[0] == "-" and level > _UNARY else text

    def literal(self, expr: Const) -> str:
        """The text of a constant."""
        value, dtype = expr.value, expr.dtype
        if not dtype.is_float:
            if value == -(2**63):
                return f"(-{2**63 - 1} - 1)"
            return f"{int(value)}{'u' if dtype.code == 'uint' else ''}"
        if dtype.bits == 16:
            return self.half(expr)
        suffix = "f" if dtype.bits == 32 else ""
        if math.isnan(value):
            return f'__builtin_nan{suffix}("")'
        if math.isinf(value):
            return f"{'-' if value < 0 else ''}__builtin_inf{suffix}()"
        return f"{value!r}{suffix}"

    def half(self, expr: Const) -> str:
        """A constant of float16, or the bits of one of a type that is only stored."""
        if expr.dtype.code == "bfloat":
            bits = int(np.array(bf16(float(expr.value)), np.float32).view(np.uint32)) >> 16
            return f"{bits}u"
        if self.is_stored(expr.dtype):
            return f"{int(np.array(expr.value, np.float16).view(np.uint16))}u"
        return f"(({self.type(expr.dtype.scalar)}){self.literal(Const(expr.value, FLOAT32))})"

    def is_stored(self, dtype: DType) -> bool:
        """Whether a type is storage: held as bits and computed with in another type."""
        return dtype.scalar in self.dialect.stored

    def refuse_stored(self, what: str, dtype: DType) -> None:
        """Refuse to compute in a type that is only stored.

        Raises:
            CodegenError: it is.
        """
        if self.is_stored(dtype):
            raise CodegenError(
                f"{self.dialect.name} has no '{what}' for {dtype.scalar}; cast to float32 to "
                "compute"
            )

    def binary(self, expr: Binary, level: int) -> str:
        """An operator or a call of a helper."""
        dtype = self.dtype(expr.a)
        op = expr.op
        self.refuse_stored(op, dtype)
        if dtype.lanes > 1 and (op in COMPARISONS or dtype.code == "bool"):
            return self.mask(expr, mask_dtype(dtype), level)
        if op in ("min", "max"):
            return f"{self.helper(op, dtype)}({self.expr(expr.a)}, {self.expr(expr.b)})"
        if op in ("floordiv", "floormod") and not self.plain_division(expr):
            return f"{self.helper(op, dtype)}({self.expr(expr.a)}, {self.expr(expr.b)})"
        sign, strength = self.dialect.infix[op]
        if (
            op == "sub"
            and type(expr.a) is Const
            and expr.a == Const(0, expr.a.dtype)
            and dtype.is_int
        ):
            text, strength = f"-{self.expr(expr.b, _UNARY)}", _UNARY
        else:
            text = f"{self.expr(expr.a, strength)} {sign} {self.expr(expr.b, strength + 1)}"
        if dtype.is_int and dtype.bits < 32 and dtype.lanes == 1 and op not in COMPARISONS:
            return f"({self.type(dtype)})({text})"
        return f"({text})" if strength < level else text

    def plain_division(self, expr: Binary) -> bool:
        """Whether C's truncating division gives the floor."""
        if expr.dtype.code == "uint":
            return True
        if self._lane is not None or expr.dtype.lanes > 1:
            return False
        low, divisor = self._simplify.bounds(expr.a)[0], self._simplify.bounds(expr.b)[0]
        return low is not None and low >= 0 and divisor is not None and divisor > 0

    def mask(self, expr: Expr, dtype: DType, level: int = 0) -> str:
        """A vector condition as integers of type ``dtype``, all bits set where it holds."""
        match expr:
            case Binary(op="and" | "or") if expr.dtype.code == "bool":
                sign, strength = ("&", 6) if expr.op == "and" else ("|", 4)
                a, b = self.mask(expr.a, dtype, strength), self.mask(expr.b, dtype, strength + 1)
                text = f"{a} {sign} {b}"
                return f"({text})" if strength < level else text
            case Binary() if expr.op in COMPARISONS:
                sign, strength = self.dialect.infix[expr.op]
                own = mask_dtype(expr.a.dtype)
                text = f"{self.expr(expr.a, strength)} {sign} {self.expr(expr.b, strength + 1)}"
                if own != dtype:
                    return self.convert(text, own, dtype)
                return f"({text})" if strength < level else text
            case Call(fn="not"):
                return f"~{self.mask(expr.args[0], dtype, _UNARY)}"
            case Broadcast():
                scalar = f"-({self.dialect.scalar(dtype)})({self.expr(expr.value)} != 0)"
                return f"{self.helper('splat', dtype)}({scalar})"
            case _:
                bits = DType("int", 8, dtype.lanes)
                text = f"({self.type(bits)}){self.expr(expr, _UNARY)}"
                return f"-{self.convert(text, bits, dtype)}"

    def convert(self, text: str, source: DType, to: DType) -> str:
        """Convert lanes; integers change their width by factors of two, which compiles well."""
        while source != to:
            step = to
            if source.is_int and to.is_int:
                if source.bits < to.bits:
                    step = DType(to.code, source.bits * 2, to.lanes)
                elif source.bits > to.bits:
                    step = DType(to.code, source.bits // 2, to.lanes)
            text = f"__builtin_convertvector({text}, {self.type(step)})"
            source = step
        return text

    def call(self, expr: Call, level: int) -> str:
        """A call of the prelude's implementation of an intrinsic."""
        dtype = self.dtype(expr)
        self.refuse_stored(expr.fn, dtype)
        if expr.fn == "not":
            if dtype.lanes > 1:
                return self.mask(expr, DType("int", 8, dtype.lanes), level)
            return f"!{self.expr(expr.args[0], _UNARY)}"
        args = ", ".join(self.expr(a) for a in expr.args)
        return f"{self.helper(expr.fn, dtype)}({args})"

    def extern(self, expr: Extern) -> str:
        """A call of an extern function, which works on whole vectors."""
        if self._lane is not None:
            raise CodegenError(f"extern '{expr.fn}' has no single lanes; store its result as it is")
        self.externs[expr.fn] = None
        args = ", ".join(self.expr(a) for a in expr.args)
        return f"{extern_name(expr.fn)}({args})"

    def cast(self, expr: Cast, level: int) -> str:
        """A conversion."""
        to, source = self.dtype(expr), self.dtype(expr.value)
        if to.scalar != source.scalar and (self.is_stored(to) or self.is_stored(source)):
            return self.cast_stored(expr.value, source, to, level)
        if to.lanes == 1:
            text = f"({self.type(to)}){self.expr(expr.value, _UNARY)}"
            return f"({text})" if level > _UNARY else text
        if source.code == "bool":
            bits = DType("int", max(8, min(to.bits, 64)), to.lanes)
            mask = f"(-{self.mask(expr.value, bits, _UNARY)})"
            return self.convert(mask, bits, to)
        if to.code == "bool":
            zero = Broadcast(Const(0, source.scalar), source.lanes)
            return self.value(Binary("ne", expr.value, zero), to)
        return self.convert(self.expr(expr.value), source, to)

    def cast_stored(self, value: Expr, source: DType, to: DType, level: int) -> str:
        """A conversion from or to a type that is only stored, by way of float32."""
        wide = FLOAT32.with_lanes(to.lanes)
        if self.is_stored(source) and self.is_stored(to):
            return f"{self.helper('narrow', to)}({self.expr(cast(value, wide))})"
        if self.is_stored(source):
            text = f"{self.helper('widen', source)}({self.expr(value)})"
            if to == wide:
                return text
            if to.lanes > 1:
                return self.convert(text, wide, to)
            text = f"({self.type(to)}){text}"
            return f"({text})" if level > _UNARY else text
        return f"{self.helper('narrow', to)}({self.expr(cast(value, wide))})"

    def select(self, expr: Select, level: int) -> str:
        """A choice by a scalar condition, or lane by lane by a mask."""
        dtype = self.dtype(expr)
        if self.dtype(expr.cond).lanes > 1:
            mask = self.mask(expr.cond, mask_dtype(dtype))
            arms = f"{self.expr(expr.then)}, {self.expr(expr.other)}"
            return f"{self.helper('select', dtype)}({mask}, {arms})"
        cond = self.expr(expr.cond, _TERNARY + 1)
        text = f"{cond} ? {self.arm(expr.then, dtype)} : {self.arm(expr.other, dtype)}"
        return f"({text})" if level > 0 else text

    def arm(self, expr: Expr, dtype: DType) -> str:
        """An arm of a choice; arms must agree in type, and loads make it an unaligned one."""
        if dtype.lanes > 1 and isinstance(expr, Load | Binary):
            return f"({self.type(dtype)}){self.expr(expr, _UNARY)}"
        return self.expr(expr, _TERNARY)

    def register(self, buffer: Buffer) -> str:
        """The name of a register that is read."""
        return self.name(buffer.name)

    def load(self, expr: Load, level: int) -> str:
        """An element, a vector of consecutive elements or a register."""
        buffer = expr.buffer
        if buffer.scope == "register":
            name = self.register(buffer)
            return (
                name if self._lane is None or buffer.dtype.lanes == 1 else f"{name}[{self._lane}]"
            )
        (index,) = expr.indices
        if self._lane is None and isinstance(index, Ramp):
            text = f"*{self.pointer(buffer, index.base, index.lanes)}"
            return f"({text})" if level > _UNARY else text
        return self.element(buffer, index)

    def needs_lanes(self, expr: Expr) -> bool:
        """Whether a vector has no printed form but a literal of its lanes.

        Those are counters, gathers, and choices by lane between values that are loaded, unless
        the loads are in bounds even where their lane is not chosen.
        """
        match expr:
            case Ramp():
                return True
            case Load(indices=(Ramp() as index,)):
                return int_value(index.stride) != 1
            case Load(indices=(_,)):
                return True
            case Select() if expr.cond.dtype.lanes > 1:
                loaded = (*expr_loads(expr.then), *expr_loads(expr.other))
                return not all(self.is_safe(load) for load in loaded)
            case _:
                return False

    def is_safe(self, load: Load) -> bool:
        """Whether a load is provably in bounds wherever control is."""
        if load.buffer.scope == "register":
            return True
        (index,) = load.indices
        size = int_value(load.buffer.shape[0])
        base, lanes = (index.base, index.lanes) if isinstance(index, Ramp) else (index, 1)
        if size is None or base.dtype.lanes > 1 or not self._is_plain(index):
            return False
        low, high = self._simplify.bounds(base)
        return low is not None and low >= 0 and high is not None and high + lanes <= size

    def _is_plain(self, index: Expr) -> bool:
        return not isinstance(index, Ramp) or int_value(index.stride) == 1
