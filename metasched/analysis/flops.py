"""Nominal work of a program: arithmetic operations and the bytes it cannot avoid moving."""

from __future__ import annotations

import math
from typing import Final

from metasched.errors import UsageError
from metasched.ir.expr import Binary, Call, Expr, Load, Select, int_value
from metasched.ir.stmt import Block, For, Program, Stmt, Store
from metasched.ir.walk import child_stmts, expr_children

_ARITHMETIC: Final = frozenset({"add", "sub", "mul", "div", "min", "max"})


def flops(program: Program) -> float:
    """Arithmetic operations of a program, a multiply-add as two.

    Every operation in a stored value counts once per iteration of its block: sums, products,
    quotients, extrema and intrinsics, of floats as of integers. Index arithmetic, comparisons,
    conversions and inits do not count; of a condition's sides the costlier one does.

    Raises:
        UsageError: an extent is symbolic.

    >>> from metasched import ops
    >>> flops(ops.matmul(m=4, n=5, k=6))
    240.0
    """
    return _count(program.root, 1.0, 1.0)


def traffic(program: Program) -> int:
    """Bytes of all parameters: every input read once and every output written once.

    Raises:
        UsageError: a shape is symbolic.
    """
    return sum(b.dtype.bytes * math.prod(_known(e) for e in b.shape) for b in program.params)


def _count(stmt: Stmt, domain: float, loops: float) -> float:
    """Operations of a statement that runs once per point of the blocks and loops around it."""
    match stmt:
        case Store():
            return domain * loops * _operations(stmt.value)
        case Block():
            # The loops around a block only enumerate its domain.
            inner = domain * math.prod(_known(i.extent) for i in stmt.iters)
            return _count(stmt.body, inner, 1.0)
        case For():
            return _count(stmt.body, domain, loops * _known(stmt.extent))
        case _:
            return sum(_count(s, domain, loops) for s in child_stmts(stmt))


def _operations(expr: Expr) -> int:
    match expr:
        case Load():
            return 0
        case Select():
            return max(_operations(expr.then), _operations(expr.other))
        case Binary():
            own = 1 if expr.op in _ARITHMETIC else 0
        case Call():
            own = 0 if expr.fn == "not" else 1
        case _:
            own = 0
    return own * expr.dtype.lanes + sum(_operations(e) for e in expr_children(expr))


def _known(extent: Expr) -> int:
    value = int_value(extent)
    if value is None:
        raise UsageError(f"extent {extent} is symbolic; give the program numbers for its sizes")
    return value
