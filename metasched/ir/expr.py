"""Scalar expressions: the node classes and the builders that normalise while they build.

Constructors never simplify; the functions at the end (and Python's operators) fold constants and
drop neutral elements. Deeper algebra lives in `metasched.ir.simplify`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from metasched.errors import UsageError
from metasched.ir.dtype import BOOL, FLOAT32, INT64, DType
from metasched.ir.node import Node, slot_setters

BinaryOp = Literal[
    "add", "sub", "mul", "div", "floordiv", "floormod", "min", "max",
    "eq", "ne", "lt", "le", "and", "or",
]  # fmt: skip
COMPARISONS: Final = frozenset({"eq", "ne", "lt", "le"})
LOGICAL: Final = frozenset({"and", "or"})

Intrinsic = Literal[
    "exp", "log", "sqrt", "rsqrt", "erf", "tanh", "sigmoid", "abs", "floor", "round", "pow", "not"
]
INTRINSIC_ARITY: Final[dict[str, int]] = {
    **dict.fromkeys(
        ("exp", "log", "sqrt", "rsqrt", "erf", "tanh", "sigmoid", "abs", "floor", "round", "not"), 1
    ),
    "pow": 2,
}


class Expr(Node):
    """Base of expressions; Python operators build, ``==`` compares structure."""

    __slots__ = ()
    dtype: DType

    def __add__(self, other: ExprLike) -> Expr:
        return add(self, other)

    def __radd__(self, other: ExprLike) -> Expr:
        return add(other, self)

    def __sub__(self, other: ExprLike) -> Expr:
        return sub(self, other)

    def __rsub__(self, other: ExprLike) -> Expr:
        return sub(other, self)

    def __mul__(self, other: ExprLike) -> Expr:
        return mul(self, other)

    def __rmul__(self, other: ExprLike) -> Expr:
        return mul(other, self)

    def __truediv__(self, other: ExprLike) -> Expr:
        return div(self, other)

    def __rtruediv__(self, other: ExprLike) -> Expr:
        return div(other, self)

    def __floordiv__(self, other: ExprLike) -> Expr:
        return floordiv(self, other)

    def __rfloordiv__(self, other: ExprLike) -> Expr:
        return floordiv(other, self)

    def __mod__(self, other: ExprLike) -> Expr:
        return floormod(self, other)

    def __rmod__(self, other: ExprLike) -> Expr:
        return floormod(other, self)

    def __neg__(self) -> Expr:
        return sub(const(0, self.dtype), self)

    def __lt__(self, other: ExprLike) -> Expr:
        return less(self, other)

    def __le__(self, other: ExprLike) -> Expr:
        return less_equal(self, other)

    def __gt__(self, other: ExprLike) -> Expr:
        return less(other, self)

    def __ge__(self, other: ExprLike) -> Expr:
        return less_equal(other, self)

    def __bool__(self) -> bool:
        raise UsageError(
            f"the expression {self} has no truth value while a program is described; "
            "use te.if_then_else, te.all or te.any"
        )

    def __str__(self) -> str:
        from metasched.ir.printer import print_expr

        return print_expr(self)


ExprLike: TypeAlias = Expr | int | float


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Var(Expr):
    """A named scalar: a loop variable, a block iteration variable, a size or a tile factor."""

    name: str
    dtype: DType = INT64

    def __new__(cls, name: str, dtype: DType = INT64) -> Var:
        """The one object for a name and dtype.

        Variables are the keys of most tables, and this way they compare and hash by identity.
        """
        found = _VARS.get((name, dtype))
        if found is None:
            made = object.__new__(cls)
            object.__setattr__(made, "name", name)
            object.__setattr__(made, "dtype", dtype)
            found = _VARS.setdefault((name, dtype), made)
        return found

    def __getnewargs__(self) -> tuple[str, DType]:
        return self.name, self.dtype

    __eq__ = object.__eq__
    __hash__ = object.__hash__


_VARS: Final[dict[tuple[str, DType], Var]] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Const(Expr):
    """A number; ``value`` is a bool, int or float that fits ``dtype``."""

    value: int | float
    dtype: DType

    def __post_init__(self) -> None:
        # 1 == 1.0 == True in Python; the stored class must follow the dtype for equality to hold.
        kind = float if self.dtype.is_float else bool if self.dtype.code == "bool" else int
        if type(self.value) is not kind:
            object.__setattr__(self, "value", kind(self.value))

    def __hash__(self) -> int:
        try:
            return self._hash  # type: ignore[attr-defined,no-any-return]
        except AttributeError:
            # Every NaN hashes by identity in Python, yet all are one constant.
            value = hash((None if self.value != self.value else self.value, self.dtype))
            object.__setattr__(self, "_hash", value)
            return value

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Const) or self.dtype != other.dtype:
            return False
        if not self.dtype.is_float:
            return self.value == other.value
        same_nan = self.value != self.value and other.value != other.value
        # 0.0 == -0.0 in Python, but not as a program's constant.
        same_sign = math.copysign(1.0, self.value) == math.copysign(1.0, other.value)
        return same_nan or (self.value == other.value and same_sign)


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Binary(Expr):
    """``a op b`` on operands of one dtype; comparisons and logic give bool."""

    op: BinaryOp
    a: Expr
    b: Expr
    dtype: DType = field(init=False, repr=False)

    def __init__(self, op: BinaryOp, a: Expr, b: Expr) -> None:
        dtype = a.dtype
        if dtype is not b.dtype and dtype != b.dtype:
            raise UsageError(
                f"'{op}' needs operands of one dtype, got {a.dtype} and {b.dtype}; "
                "convert one with te.cast"
            )
        # Kept, not derived on demand: asking a deep sum would walk down it each time.
        if op in COMPARISONS:
            dtype = BOOL.with_lanes(dtype.lanes)
        _set_op(self, op)
        _set_a(self, a)
        _set_b(self, b)
        _set_dtype(self, dtype)


_set_op, _set_a, _set_b, _set_dtype = slot_setters(Binary, "op", "a", "b", "dtype")
"""Written by hand as a sum is what is built most, and a dataclass takes twice as long."""


@dataclass(frozen=True, slots=True, eq=False)
class Call(Expr):
    """A pure intrinsic of `INTRINSIC_ARITY` applied elementwise."""

    fn: Intrinsic
    args: tuple[Expr, ...]

    @property
    def dtype(self) -> DType:  # type: ignore[override]
        """Type of the result, that of the first argument."""
        return self.args[0].dtype


@dataclass(frozen=True, slots=True, eq=False)
class Cast(Expr):
    """``value`` converted to ``dtype`` (C rules; float to int truncates)."""

    dtype: DType
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Select(Expr):
    """``then`` where ``cond`` holds, else ``other``; only the taken side is evaluated.

    So a load under a bounds check is safe.
    """

    cond: Expr
    then: Expr
    other: Expr

    def __post_init__(self) -> None:
        if self.then.dtype != self.other.dtype:
            raise UsageError(
                f"if_then_else needs branches of one dtype, got {self.then.dtype} and "
                f"{self.other.dtype}; convert one with te.cast"
            )

    @property
    def dtype(self) -> DType:  # type: ignore[override]
        """Type of both branches."""
        return self.then.dtype


@dataclass(frozen=True, slots=True, eq=False)
class Buffer(Node):
    """A row-major array in some memory scope; ``shape`` may hold symbolic sizes.

    `metasched.ir.scopes` lists the scopes. ``align`` holds triples of an axis, a factor and an
    offset: the stride of that axis is padded to ``k * factor + offset`` elements for some ``k``.
    Parameters are dense, so only buffers that a block allocates are aligned.
    """

    name: str
    shape: tuple[Expr, ...]
    dtype: DType
    scope: str = "global"
    align: tuple[tuple[int, int, int], ...] = ()

    def __getitem__(self, indices: ExprLike | tuple[ExprLike, ...]) -> Expr:
        items = indices if isinstance(indices, tuple) else (indices,)
        if len(items) != len(self.shape):
            raise UsageError(
                f"buffer '{self.name}' has {len(self.shape)} dimensions, got {len(items)} indices"
            )
        return Load(self, tuple(as_index(i) for i in items))


@dataclass(frozen=True, slots=True, eq=False)
class Load(Expr):
    """One element of a buffer (in lowered programs: a vector when an index is a `Ramp`)."""

    buffer: Buffer
    indices: tuple[Expr, ...]
    dtype: DType = field(init=False, repr=False)

    def __post_init__(self) -> None:
        dtype = self.buffer.dtype
        for index in self.indices:
            if index.dtype.lanes > 1:
                dtype = dtype.with_lanes(index.dtype.lanes)
        object.__setattr__(self, "dtype", dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Ramp(Expr):
    """The vector ``base + stride * [0, 1, ..., lanes - 1]``; lowered programs only."""

    base: Expr
    stride: Expr
    lanes: int

    @property
    def dtype(self) -> DType:  # type: ignore[override]
        """The base's dtype with the ramp's lanes."""
        return self.base.dtype.with_lanes(self.lanes)


@dataclass(frozen=True, slots=True, eq=False)
class Broadcast(Expr):
    """A scalar repeated in every lane; lowered programs only."""

    value: Expr
    lanes: int

    @property
    def dtype(self) -> DType:  # type: ignore[override]
        """The value's dtype with the broadcast's lanes."""
        return self.value.dtype.with_lanes(self.lanes)


@dataclass(frozen=True, slots=True, eq=False)
class Extern(Expr):
    """A call of a registered function on vectors; see `metasched.ir.extern`."""

    fn: str
    args: tuple[Expr, ...]
    dtype: DType


def const(value: int | float, dtype: DType | str = INT64) -> Const:
    """A constant of the given dtype."""
    if type(value) is int and dtype is INT64:
        # Most constants are small sizes; nodes never change, so one object serves all.
        return _int(value)
    return Const(value, DType.of(dtype))


@lru_cache(maxsize=4096)
def _int(value: int) -> Const:
    return Const(value, INT64)


TRUE: Final = Const(True, BOOL)
FALSE: Final = Const(False, BOOL)


def as_expr(value: ExprLike, like: DType | None = None) -> Expr:
    """Lift a Python number; ints become ``like`` (default int64), floats ``like`` or float32."""
    if isinstance(value, Expr):
        return value
    if type(value) is int:
        return const(value, like or INT64)
    if isinstance(value, bool):
        return Const(value, BOOL)
    if isinstance(value, float):
        return Const(value, like if like is not None and like.is_float else FLOAT32)
    if hasattr(value, "__index__"):
        return Const(value.__index__(), like or INT64)
    raise UsageError(f"expected an expression or a number, got {value!r}")


def as_index(value: ExprLike) -> Expr:
    """Lift a value used as an index or an extent.

    Raises:
        UsageError: it is not an integer.
    """
    expr = as_expr(value)
    if not expr.dtype.is_int:
        raise UsageError(f"an index must be an integer, got {expr} of {expr.dtype}")
    return expr


def int_value(expr: Expr) -> int | None:
    """The Python int of an integer constant, else None."""
    return int(expr.value) if type(expr) is Const and not expr.dtype.is_float else None


def _pair(a: ExprLike, b: ExprLike) -> tuple[Expr, Expr]:
    if isinstance(a, Expr):
        return a, b if isinstance(b, Expr) else as_expr(b, a.dtype)
    if isinstance(b, Expr):
        return as_expr(a, b.dtype), b
    return as_expr(a), as_expr(b)


_FOLD: Final[dict[str, Callable[[float, float], float | bool]]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "floordiv": lambda x, y: x // y,
    "floormod": lambda x, y: x % y,
    "min": min,
    "max": max,
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: x != y,
    "lt": lambda x, y: x < y,
    "le": lambda x, y: x <= y,
}


def _fold(op: BinaryOp, a: Expr, b: Expr) -> Expr:
    """``a op b`` with two integer constants folded (floats keep the rounding of the target)."""
    if type(a) is Const and type(b) is Const and a.dtype.is_int and op in _FOLD:
        if op in ("floordiv", "floormod") and b.value == 0:
            return Binary(op, a, b)
        value = _FOLD[op](a.value, b.value)
        return (TRUE if value else FALSE) if op in COMPARISONS else const(value, a.dtype)
    return Binary(op, a, b)


def _is(expr: Expr, value: int) -> bool:
    return type(expr) is Const and expr.dtype.is_int and expr.value == value


def binary(op: BinaryOp, a: ExprLike, b: ExprLike) -> Expr:
    """Build any binary operation by name, with the same folding as the named builders."""
    return _BUILD[op](a, b)


def add(a: ExprLike, b: ExprLike) -> Expr:
    """``a + b``."""
    x, y = (a, b) if isinstance(a, Expr) and isinstance(b, Expr) else _pair(a, b)
    if type(x) is Const:
        if _is(x, 0):
            return y
    elif type(y) is not Const:
        return Binary("add", x, y)
    if _is(y, 0):
        return x
    return _fold("add", x, y)


def sub(a: ExprLike, b: ExprLike) -> Expr:
    """``a - b``."""
    x, y = _pair(a, b)
    if _is(y, 0):
        return x
    if x.dtype.is_int and x == y:
        return Const(0, x.dtype)
    return _fold("sub", x, y)


def mul(a: ExprLike, b: ExprLike) -> Expr:
    """``a * b``."""
    x, y = (a, b) if isinstance(a, Expr) and isinstance(b, Expr) else _pair(a, b)
    if type(x) is not Const and type(y) is not Const:
        return Binary("mul", x, y)
    if _is(x, 1) or _is(y, 0):
        return y
    if _is(y, 1) or _is(x, 0):
        return x
    return _fold("mul", x, y)


def div(a: ExprLike, b: ExprLike) -> Expr:
    """``a / b`` on floats."""
    x, y = _pair(a, b)
    if not x.dtype.is_float:
        raise UsageError(f"'/' needs floats, got {x.dtype}; use // for integers")
    return Binary("div", x, y)


def floordiv(a: ExprLike, b: ExprLike) -> Expr:
    """``a // b``, rounding towards minus infinity."""
    x, y = _pair(a, b)
    if _is(y, 0):
        raise UsageError(f"division of {x} by zero")
    if _is(y, 1) or _is(x, 0):
        return x
    return _fold("floordiv", x, y)


def floormod(a: ExprLike, b: ExprLike) -> Expr:
    """``a % b`` with the sign of b."""
    x, y = _pair(a, b)
    if _is(y, 0):
        raise UsageError(f"remainder of {x} by zero")
    if _is(y, 1):
        return Const(0, x.dtype)
    return _fold("floormod", x, y)


def minimum(a: ExprLike, b: ExprLike) -> Expr:
    """The smaller of two values."""
    x, y = _pair(a, b)
    return x if x == y else _fold("min", x, y)


def maximum(a: ExprLike, b: ExprLike) -> Expr:
    """The larger of two values."""
    x, y = _pair(a, b)
    return x if x == y else _fold("max", x, y)


def equal(a: ExprLike, b: ExprLike) -> Expr:
    """``a == b`` as an expression."""
    x, y = _pair(a, b)
    return TRUE if x.dtype.is_int and x == y else _fold("eq", x, y)


def not_equal(a: ExprLike, b: ExprLike) -> Expr:
    """``a != b`` as an expression."""
    x, y = _pair(a, b)
    return FALSE if x.dtype.is_int and x == y else _fold("ne", x, y)


def less(a: ExprLike, b: ExprLike) -> Expr:
    """``a < b``."""
    x, y = _pair(a, b)
    return _fold("lt", x, y)


def less_equal(a: ExprLike, b: ExprLike) -> Expr:
    """``a <= b``."""
    x, y = _pair(a, b)
    return _fold("le", x, y)


def logical_and(a: ExprLike, b: ExprLike) -> Expr:
    """``a and b`` on bools; b is evaluated only where a holds."""
    x, y = as_expr(a), as_expr(b)
    if x == TRUE or y == FALSE:
        return y
    return x if y == TRUE or x == FALSE or x == y else Binary("and", x, y)


def logical_or(a: ExprLike, b: ExprLike) -> Expr:
    """``a or b`` on bools; b is evaluated only where a does not hold."""
    x, y = as_expr(a), as_expr(b)
    if x == FALSE or y == TRUE:
        return y
    return x if y == FALSE or x == TRUE or x == y else Binary("or", x, y)


def select(cond: ExprLike, then: ExprLike, other: ExprLike) -> Expr:
    """``then`` where ``cond`` holds, else ``other``; only the taken side is evaluated."""
    test = as_expr(cond)
    x, y = _pair(then, other)
    if test == TRUE:
        return x
    return y if test == FALSE or x == y else Select(test, x, y)


def cast(value: ExprLike, dtype: DType | str) -> Expr:
    """``value`` converted to ``dtype``."""
    x, to = as_expr(value), DType.of(dtype)
    if x.dtype == to:
        return x
    if type(x) is Const and (to.is_float or x.dtype.is_int):
        return Const(x.value, to)
    return Cast(to, x)


def call(fn: Intrinsic, *args: ExprLike) -> Expr:
    """An intrinsic applied to its arguments.

    Raises:
        UsageError: unknown name or wrong number of arguments.
    """
    if INTRINSIC_ARITY.get(fn) != len(args):
        raise UsageError(f"intrinsic '{fn}' is unknown or does not take {len(args)} arguments")
    first = as_expr(args[0])
    return Call(fn, (first, *(as_expr(a, first.dtype) for a in args[1:])))


def all_of(conditions: Sequence[ExprLike]) -> Expr:
    """The conjunction of conditions, true when there are none."""
    result: Expr = TRUE
    for condition in conditions:
        result = logical_and(result, condition)
    return result


_BUILD: Final[dict[str, Callable[[ExprLike, ExprLike], Expr]]] = {
    "add": add,
    "sub": sub,
    "mul": mul,
    "div": div,
    "floordiv": floordiv,
    "floormod": floormod,
    "min": minimum,
    "max": maximum,
    "eq": equal,
    "ne": not_equal,
    "lt": less,
    "le": less_equal,
    "and": logical_and,
    "or": logical_or,
}
