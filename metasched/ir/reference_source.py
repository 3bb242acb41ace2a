"""The Python source of the reference interpreter: one function over flat lists.

Sizes are numbers by then, so most bounds checks fall to `Simplifier.bounds` and only the others
are written out. Names are generated; nothing from the program reaches the text unescaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from metasched.errors import UsageError
from metasched.ir import reference_math
from metasched.ir.dtype import INT64, DType
from metasched.ir.expr import (
    TRUE,
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
    int_value,
)
from metasched.ir.extern import Argument, lane_of
from metasched.ir.procedure import PROCEDURES, meaning_of
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Alloc, Block, For, If, Invoke, Program, Seq, Stmt, Store
from metasched.ir.walk import map_expr, map_exprs, substitute

Precision = Literal["double", "program"]

_SIGNS: Final = {
    "add": "+", "sub": "-", "mul": "*", "floordiv": "//", "floormod": "%",
    "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "and": "and", "or": "or",
}  # fmt: skip
_ROUNDED: Final = frozenset({"add", "sub", "mul", "div"})
_FUNCTIONS: Final = {"round": "round_", "pow": "pow_", "not": "not "}
_MAX_NESTED: Final = 15
"""Python refuses more than 20 nested loops in one function."""


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a module with ``run(**arrays)`` and the argument name of each parameter."""

    text: str
    params: dict[Buffer, str]


def generate(program: Program, sizes: Mapping[Var, Expr], precision: Precision) -> Source:
    """The source of a program whose symbolic sizes have the given values."""
    generator = _Generator(sizes, precision)
    params = {b: generator.declare(b) for b in program.params}
    body = map_exprs(program.root, lambda e: substitute(e, sizes))
    lines = [f"def run({', '.join(params.values())}):", *generator.stmt(body, 1, 0)]
    return Source("\n".join(lines), params)


class _Generator:
    def __init__(self, sizes: Mapping[Var, Expr], precision: Precision) -> None:
        self._sizes = sizes
        self._precision = precision
        self._arrays: dict[Buffer, str] = {}
        self._vars: dict[Var, str] = {}
        self._functions = 0
        self._calls = 0
        self._bounds = Simplifier()
        self._ranges: dict[Var, int] = {}

    # -- names ---------------------------------------------------------------------------------

    def declare(self, buffer: Buffer) -> str:
        return self._arrays.setdefault(buffer, f"b{len(self._arrays)}")

    def _bind(self, var: Var, extent: int) -> str:
        if self._ranges.get(var) not in (None, extent):
            self._bounds = Simplifier(self._ranges | {var: extent})
        self._ranges[var] = extent
        self._bounds.bind(var, extent)
        return self._vars.setdefault(var, f"v{len(self._vars)}")

    def _shape(self, buffer: Buffer) -> list[int]:
        return [self._int(e, f"a size of '{buffer.name}'") for e in buffer.shape]

    def _int(self, expr: Expr, what: str) -> int:
        value = int_value(self._bounds(substitute(expr, self._sizes)))
        if value is None:
            raise UsageError(f"{what} is {expr}, which is no number; give sizes=")
        return value

    # -- statements ----------------------------------------------------------------------------

    def stmt(self, stmt: Stmt, depth: int, nested: int) -> Iterator[str]:
        pad = " " * depth
        match stmt:
            case For():
                yield from self._loops(stmt, depth, nested)
            case Block():
                yield from self._block(stmt, depth, nested)
            case Store():
                yield from self._store(stmt, pad)
            case Seq():
                yield f"{pad}pass"
                for part in stmt.stmts:
                    yield from self.stmt(part, depth, nested)
            case If():
                yield f"{pad}if {self._expr(stmt.cond)}:"
                yield from self.stmt(stmt.then, depth + 1, nested)
                if stmt.other is not None:
                    yield f"{pad}else:"
                    yield from self.stmt(stmt.other, depth + 1, nested)
            case Invoke() if stmt.fn in PROCEDURES:
                yield from self.stmt(meaning_of(stmt, self._fresh), depth, nested)
            case Invoke():
                yield f"{pad}pass"
            case Alloc():
                yield f"{pad}{self._alloc(stmt.buffer)}"
                yield from self.stmt(stmt.body, depth, nested)
            case _:
                raise TypeError(f"not a statement: {stmt!r}")

    def _fresh(self, name: str, extent: Expr) -> Var:
        self._calls += 1
        return Var(f"{name}_{self._calls}", extent.dtype)

    def _loops(self, loop: For, depth: int, nested: int) -> Iterator[str]:
        pad = " " * depth
        if nested >= _MAX_NESTED:
            self._functions += 1
            yield f"{pad}def f{self._functions}():"
            name = self._functions
            yield from self._loops(loop, depth + 1, 0)
            yield f"{pad}f{name}()"
            return
        extent = self._expr(loop.extent)
        _, high = self._bounds.bounds(loop.extent)
        if high is None:
            raise UsageError(f"the extent {loop.extent} of loop '{loop.var.name}' is unbounded")
        yield f"{pad}for {self._bind(loop.var, max(high, 1))} in range({extent}):"
        yield from self.stmt(loop.body, depth + 1, nested + 1)

    def _block(self, block: Block, depth: int, nested: int) -> Iterator[str]:
        if block.predicate != TRUE:
            yield f"{' ' * depth}if {self._expr(block.predicate)}:"
            depth += 1
        pad = " " * depth
        for axis in block.iters:
            extent = self._int(axis.extent, f"the extent of '{axis.var.name}'")
            value = self._index(axis.binding, extent, f"{axis.var.name} of block {block.name}")
            yield f"{pad}{self._bind(axis.var, extent)} = {value}"
        for buffer in block.allocs:
            yield f"{pad}{self._alloc(buffer)}"
        if block.init is not None:
            zero = [f"{self._vars[a.var]} == 0" for a in block.iters if a.kind == "reduce"]
            yield f"{pad}if {' and '.join(zero) or 'True'}:"
            yield from self.stmt(block.init, depth + 1, nested)
        yield from self.stmt(block.body, depth, nested)

    def _alloc(self, buffer: Buffer) -> str:
        count = math.prod(self._shape(buffer)) * buffer.dtype.lanes
        value = reference_math.poison(buffer.dtype)
        return f"{self.declare(buffer)} = [{value!r}] * {count}"

    def _store(self, stmt: Store, pad: str) -> Iterator[str]:
        lanes = max([stmt.buffer.dtype.lanes, *(i.dtype.lanes for i in stmt.indices)])
        values = [self._expr(_lane(stmt.value, k)) for k in range(lanes)]
        targets = [self._element(stmt.buffer, stmt.indices, k) for k in range(lanes)]
        yield f"{pad}{', '.join(targets)} = {', '.join(values)}"

    # -- expressions ---------------------------------------------------------------------------

    def _element(self, buffer: Buffer, indices: tuple[Expr, ...], lane: int) -> str:
        terms: list[str] = []
        stride = buffer.dtype.lanes
        for dimension, size in reversed(list(enumerate(self._shape(buffer)))):
            index = _lane(indices[dimension], lane)
            text = self._index(index, size, f"dimension {dimension} of buffer {buffer.name}")
            terms.append(text if stride == 1 else f"{text} * {stride}")
            stride *= size
        if buffer.dtype.lanes > 1:
            terms.append(str(lane))
        return f"{self._arrays[buffer]}[{' + '.join(terms) or '0'}]"

    def _index(self, index: Expr, size: int, what: str) -> str:
        low, high = self._bounds.bounds(index)
        text = self._expr(index)
        if low is not None and high is not None and low >= 0 and high < size:
            return text
        return f"at({text}, {size}, {what!r})"

    def _expr(self, expr: Expr) -> str:
        match expr:
            case Var():
                if expr not in self._vars:
                    raise UsageError(f"variable '{expr.name}' is used where nothing binds it")
                return self._vars[expr]
            case Const():
                return self._const(expr)
            case Binary():
                return self._binary(expr)
            case Call():
                args = ", ".join(self._expr(a) for a in expr.args)
                text = f"({_FUNCTIONS.get(expr.fn, expr.fn)}({args}))"
                return self._rounded(text, expr.dtype)
            case Cast():
                return self._cast(expr)
            case Select():
                parts = (expr.then, expr.cond, expr.other)
                then, cond, other = (self._expr(p) for p in parts)
                return f"({then} if {cond} else {other})"
            case Load():
                return self._element(expr.buffer, expr.indices, 0)
            case Lane():
                return self._element(expr.load.buffer, expr.load.indices, expr.lane)
            case _:
                raise UsageError(f"a vector stands where a scalar is expected: {expr}")

    def _const(self, expr: Const) -> str:
        if expr.dtype.is_float and self._precision == "program":
            convert = reference_math.NAMES.get(str(expr.dtype), float)
            return f"({convert(expr.value)!r})"
        return f"({expr.value!r})"

    def _binary(self, expr: Binary) -> str:
        a, b, dtype = self._expr(expr.a), self._expr(expr.b), expr.a.dtype
        if expr.op in ("min", "max"):
            return f"{'f' if dtype.is_float else ''}{expr.op}({a}, {b})"
        text = f"div({a}, {b})" if expr.op == "div" else f"({a} {_SIGNS[expr.op]} {b})"
        return self._rounded(text, dtype) if expr.op in _ROUNDED else text

    def _cast(self, expr: Cast) -> str:
        value, source, to = self._expr(expr.value), expr.value.dtype, expr.dtype
        if to.is_float:
            return self._rounded(f"float({value})", to)
        if to.code == "bool":
            return f"({value} != 0)"
        whole = f"to_int({value})" if source.is_float else f"int({value})"
        return whole if to == INT64 else self._rounded(whole, to)

    def _rounded(self, text: str, dtype: DType) -> str:
        """Fit a result to its dtype: integers wrap, floats round unless all is double."""
        if dtype.is_int:
            kind = "unsigned" if dtype.code == "uint" else "signed"
            # Index arithmetic never wraps; leaving it alone keeps the loops quick.
            return text if dtype == INT64 else f"{kind}({text}, {dtype.bits})"
        if dtype.is_float and dtype.bits < 64 and self._precision == "program":
            return f"{dtype.scalar}({text})"
        return text


@dataclass(frozen=True, slots=True, eq=False)
class Lane(Expr):
    """One lane of a load from a buffer of vectors; exists only while source is generated."""

    load: Load
    lane: int

    @property
    def dtype(self) -> DType:  # type: ignore[override]
        """Type of one lane."""
        return self.load.buffer.dtype.scalar


def _lane(expr: Expr, lane: int) -> Expr:
    """The scalar expression in one lane of a vector (of a scalar: itself)."""
    if expr.dtype.lanes == 1:
        return expr
    match expr:
        case Ramp():
            return expr.base + expr.stride * lane
        case Broadcast():
            return expr.value
        case Const():
            return Const(expr.value, expr.dtype.scalar)
        case Cast():
            return Cast(expr.dtype.scalar, _lane(expr.value, lane))
        case Load() if expr.buffer.dtype.lanes > 1:
            return Lane(expr, lane)
        case Extern():
            return lane_of(expr, lane, [_argument(a) for a in expr.args])
        case _:
            return map_expr(expr, lambda e: _lane(e, lane))


def _argument(arg: Expr) -> Argument:
    return lambda lane: _lane(arg, lane)
