"""Scalar functions of descriptions: intrinsics with checked types, conditions, conversions."""

from __future__ import annotations

from collections.abc import Callable

from metasched.errors import UsageError
from metasched.ir.dtype import BOOL, FLOAT32, INT64, DType
from metasched.ir.expr import (
    FALSE,
    Const,
    Expr,
    ExprLike,
    Intrinsic,
    all_of,
    as_expr,
    call,
    logical_or,
    select,
)
from metasched.ir.expr import const as typed_const


def _floating(fn: Intrinsic, text: str) -> Callable[[ExprLike], Expr]:
    def apply(x: ExprLike) -> Expr:
        value = as_expr(x)
        if not value.dtype.is_float:
            raise UsageError(f"te.{fn} needs a float, got {value.dtype}; convert with te.cast")
        return call(fn, value)

    apply.__name__ = apply.__qualname__ = fn
    apply.__doc__ = text
    return apply


exp = _floating("exp", "e to the power of x.")
log = _floating("log", "The natural logarithm.")
sqrt = _floating("sqrt", "The square root.")
rsqrt = _floating("rsqrt", "One over the square root.")
erf = _floating("erf", "The error function.")
tanh = _floating("tanh", "The hyperbolic tangent.")
sigmoid = _floating("sigmoid", "``1 / (1 + exp(-x))``.")
floor = _floating("floor", "The largest integer, as a float, not above x.")
nearest = _floating("round", "The nearest integer, as a float; halves go to the even one.")


def magnitude(x: ExprLike) -> Expr:
    """The absolute value."""
    return call("abs", x)


def power(x: ExprLike, y: ExprLike) -> Expr:
    """``x`` to the power of ``y``, both floats of one dtype."""
    base, exponent = as_expr(x), as_expr(y, x.dtype if isinstance(x, Expr) else None)
    if not base.dtype.is_float or base.dtype != exponent.dtype:
        raise UsageError(
            f"te.pow needs two floats of one dtype, got {base.dtype} and {exponent.dtype}; "
            "convert with te.cast"
        )
    return call("pow", base, exponent)


def if_then_else(cond: ExprLike, then: ExprLike, other: ExprLike) -> Expr:
    """``then`` where ``cond`` holds, else ``other``; only the taken side is evaluated.

    A read guarded in this way may lie outside its tensor where the guard does not hold.
    """
    return select(_condition(cond), then, other)


def all_conditions(*conditions: ExprLike) -> Expr:
    """Whether all conditions hold; true of none."""
    return all_of([_condition(c) for c in conditions])


def any_condition(*conditions: ExprLike) -> Expr:
    """Whether one of the conditions holds; false of none."""
    result: Expr = FALSE
    for condition in conditions:
        result = logical_or(result, _condition(condition))
    return result


def logical_not(condition: ExprLike) -> Expr:
    """Whether a condition does not hold."""
    return call("not", _condition(condition))


def _condition(value: ExprLike) -> Expr:
    cond = as_expr(value)
    if cond.dtype != BOOL:
        raise UsageError(f"a condition must be a bool, got {cond} of {cond.dtype}; compare it")
    return cond


def const(value: int | float, dtype: str | None = None) -> Const:
    """A constant; by default bool, int64 or float32 after the Python type of the value."""
    if dtype is not None:
        return typed_const(value, dtype)
    kind: DType = FLOAT32 if isinstance(value, float) else INT64
    return typed_const(value, BOOL if isinstance(value, bool) else kind)
