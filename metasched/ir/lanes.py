"""Vector indices lane by lane: the scalar that a vector expression has in one lane."""

from __future__ import annotations

from metasched.ir.expr import (
    Binary,
    Broadcast,
    Cast,
    Const,
    Expr,
    Ramp,
    binary,
    cast,
    const,
    int_value,
)
from metasched.ir.walk import map_expr


def lane_value(expr: Expr, lane: Expr) -> Expr:
    """The value of an index in one lane, which may be a variable; a scalar is the same in all.

    >>> from metasched.ir.expr import Var
    >>> row = Binary("floordiv", Ramp(const(0), const(1), 8), Broadcast(const(4), 8))
    >>> print(lane_value(row, Var("lane")))
    lane // 4
    """
    if expr.dtype.lanes == 1:
        return expr
    match expr:
        case Ramp():
            return expr.base + expr.stride * lane
        case Broadcast():
            return expr.value
        case Const():
            return const(expr.value, expr.dtype.scalar)
        case Cast():
            return cast(lane_value(expr.value, lane), expr.dtype.scalar)
        case Binary():
            return binary(expr.op, lane_value(expr.a, lane), lane_value(expr.b, lane))
        case _:
            return map_expr(expr, lambda e: lane_value(e, lane))


def shifted(index: Expr, by: Expr) -> Expr:
    """A scalar or vector index plus a scalar.

    >>> print(shifted(Ramp(const(0), const(1), 8), const(3)))
    ramp(3, 1, 8)
    """
    match index:
        case Ramp():
            return Ramp(index.base + by, index.stride, index.lanes)
        case _ if int_value(by) == 0:
            return index
        case _ if index.dtype.lanes > 1:
            return binary("add", Broadcast(by, index.dtype.lanes), index)
        case _:
            return index + by
