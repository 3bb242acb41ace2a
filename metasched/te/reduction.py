"""Reductions: an associative combination of values over reduction axes.

A reduction is the whole body of a `metasched.te.compute`, never part of an expression. Each kind
is a row of `COMBINERS`: its identity and how one more value is combined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NoReturn, overload

from metasched.errors import UsageError
from metasched.ir.dtype import INT64, DType
from metasched.ir.expr import (
    Const,
    Expr,
    ExprLike,
    Var,
    add,
    as_expr,
    as_index,
    const,
    equal,
    int_value,
    less,
    logical_and,
    logical_or,
    maximum,
    minimum,
    mul,
    select,
)

Kind = Literal["sum", "prod", "max", "min", "argmax", "argmin"]


@dataclass(frozen=True, slots=True, eq=False)
class Axis(Var):
    """A variable over ``[0, extent)`` of one definition; two of the same name differ."""

    extent: Expr = field(kw_only=True)

    def __new__(cls, *_: object, **__: object) -> Axis:
        """A new object each time."""
        return object.__new__(cls)


@dataclass(frozen=True, slots=True, eq=False)
class Reduction:
    """``value`` combined over ``axes``."""

    kind: Kind
    value: Expr
    axes: tuple[Axis, ...]

    @property
    def dtype(self) -> DType:
        """Type of the result: int64 for indices, else that of the value."""
        return INT64 if self.kind in ("argmax", "argmin") else self.value.dtype

    def identities(self) -> tuple[Const, ...]:
        """What each accumulator starts from."""
        return COMBINERS[self.kind].identities(self.value.dtype)

    def combine(self, state: tuple[Expr, ...], value: Expr, axes: Sequence[Var]) -> list[Expr]:
        """The accumulators after one more value.

        Args:
            state: the accumulators before.
            value: the value at ``axes``.
            axes: the variables that stand for the reduction axes.
        """
        position = _flat([a.extent for a in self.axes], axes)
        return COMBINERS[self.kind].combine(state, value, position)

    def __repr__(self) -> str:
        return f"te.{self.kind}(...)"

    def _refuse(self, *_: object) -> NoReturn:
        raise UsageError(
            f"{self!r} is used inside an expression; a reduction must be all that te.compute "
            "returns: give it a stage of its own and read that"
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse
    __truediv__ = __rtruediv__ = __neg__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse


@dataclass(frozen=True, slots=True)
class Combiner:
    """One kind of reduction as data; ``combine(state, value, position of the value)``."""

    identities: Callable[[DType], tuple[Const, ...]]
    combine: Callable[[tuple[Expr, ...], Expr, Expr], list[Expr]]


def _lowest(dtype: DType) -> Const:
    if dtype.is_float:
        return const(float("-inf"), dtype)
    return const(-(1 << dtype.bits - 1) if dtype.code == "int" else 0, dtype)


def _highest(dtype: DType) -> Const:
    if dtype.is_float:
        return const(float("inf"), dtype)
    if dtype.code == "bool":
        return const(1, dtype)
    return const((1 << dtype.bits - (dtype.code == "int")) - 1, dtype)


def _arg_combine(
    better: Callable[[Expr, Expr], Expr], keep: Callable[[Expr, Expr], Expr]
) -> Callable[[tuple[Expr, ...], Expr, Expr], list[Expr]]:
    """The first of equal values wins in whatever order the values come."""

    def combine(state: tuple[Expr, ...], value: Expr, position: Expr) -> list[Expr]:
        index, best = state
        first = logical_and(equal(best, value), less(position, index))
        wins = logical_or(better(value, best), first)
        return [select(wins, position, index), keep(best, value)]

    return combine


COMBINERS: Final[dict[str, Combiner]] = {
    "sum": Combiner(lambda t: (const(0, t),), lambda s, v, _: [add(s[0], v)]),
    "prod": Combiner(lambda t: (const(1, t),), lambda s, v, _: [mul(s[0], v)]),
    "max": Combiner(lambda t: (_lowest(t),), lambda s, v, _: [maximum(s[0], v)]),
    "min": Combiner(lambda t: (_highest(t),), lambda s, v, _: [minimum(s[0], v)]),
    "argmax": Combiner(
        lambda t: (const(0), _lowest(t)), _arg_combine(lambda v, b: less(b, v), maximum)
    ),
    "argmin": Combiner(lambda t: (const(0), _highest(t)), _arg_combine(less, minimum)),
}


def reduce_axis(dom: ExprLike | tuple[ExprLike, ExprLike], name: str = "k") -> Axis:
    """An axis to reduce over: an extent, or a range ``(0, n)`` with its end excluded.

    Raises:
        UsageError: the extent is below 1, or the range does not start at 0.
    """
    from metasched.te.tensor import check_name

    low, high = dom if isinstance(dom, tuple) else (0, dom)
    if int_value(as_index(low)) != 0:
        raise UsageError(
            f"reduction axis '{name}' starts at {low}; start at 0 and add the offset to indices"
        )
    extent = as_index(high)
    size = int_value(extent)
    if size is not None and size <= 0:
        raise UsageError(f"reduction axis '{name}' has extent {size}; it must be positive")
    return Axis(check_name(name, "reduction axis"), extent=extent if size is None else const(size))


def _flat(extents: Sequence[Expr], axes: Sequence[Var]) -> Expr:
    position: Expr = const(0)
    for extent, axis in zip(extents, axes, strict=True):
        position = position * extent + axis
    return position


def _reduce(kind: Kind, value: ExprLike, axis: Axis | Iterable[Axis]) -> Reduction:
    axes = tuple(axis) if isinstance(axis, Iterable) else (axis,)
    for item in axes:
        if not isinstance(item, Axis):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"te.{kind} reduces over te.reduce_axis axes, got {item!r}")
    if not axes or len(set(axes)) != len(axes):
        raise UsageError(f"te.{kind} needs one or more distinct axes")
    return Reduction(kind, as_expr(value), axes)


def reduce_sum(value: ExprLike, axis: Axis | Iterable[Axis]) -> Reduction:
    """The sum over reduction axes, accumulated in the dtype of ``value``."""
    return _reduce("sum", value, axis)


def reduce_prod(value: ExprLike, axis: Axis | Iterable[Axis]) -> Reduction:
    """The product over reduction axes, accumulated in the dtype of ``value``."""
    return _reduce("prod", value, axis)


def argmax(value: ExprLike, axis: Axis | Iterable[Axis]) -> Reduction:
    """The int64 position of the largest value; over several axes, row-major in their order.

    Equal values give the first position; NaN never wins. The program keeps the largest values
    themselves in a second buffer, ``<name>_value``, which is an intermediate of its own.
    """
    return _reduce("argmax", value, axis)


def argmin(value: ExprLike, axis: Axis | Iterable[Axis]) -> Reduction:
    """The int64 position of the smallest value; as `argmax`."""
    return _reduce("argmin", value, axis)


@overload
def max_of(value: ExprLike, *others: ExprLike, axis: None = None) -> Expr: ...
@overload
def max_of(value: ExprLike, *, axis: Axis | Iterable[Axis]) -> Reduction: ...
def max_of(
    value: ExprLike, *others: ExprLike, axis: Axis | Iterable[Axis] | None = None
) -> Expr | Reduction:
    """``max(x, y, ...)`` of values, or ``max(x, axis=k)``, the maximum over reduction axes."""
    return _extremum("max", maximum, value, others, axis)


@overload
def min_of(value: ExprLike, *others: ExprLike, axis: None = None) -> Expr: ...
@overload
def min_of(value: ExprLike, *, axis: Axis | Iterable[Axis]) -> Reduction: ...
def min_of(
    value: ExprLike, *others: ExprLike, axis: Axis | Iterable[Axis] | None = None
) -> Expr | Reduction:
    """``min(x, y, ...)`` of values, or ``min(x, axis=k)``, the minimum over reduction axes."""
    return _extremum("min", minimum, value, others, axis)


def _extremum(
    kind: Literal["max", "min"],
    pair: Callable[[ExprLike, ExprLike], Expr],
    value: ExprLike,
    others: tuple[ExprLike, ...],
    axis: Axis | Iterable[Axis] | None,
) -> Expr | Reduction:
    if (axis is None) is not bool(others):
        raise UsageError(f"te.{kind} takes either two or more values or one value and axis=")
    if axis is not None:
        return _reduce(kind, value, axis)
    result = value
    for other in others:
        result = pair(result, other)
    return as_expr(result)
