"""Linear views of index expressions: coefficient of a variable, constant part.

Passes after `flatten` see canonical sums (`metasched.ir.simplify`), so these walk a sum directly
instead of building polynomials: they run once per access of every candidate.
"""

from __future__ import annotations

from metasched.ir.expr import Binary, Const, Expr, Load, Var, add, const, int_value, mul, sub
from metasched.ir.stmt import Store
from metasched.ir.walk import expr_children, expr_loads


def variables(expr: Expr) -> set[Var]:
    """The variables in an expression."""
    found: set[Var] = set()
    stack = [expr]
    while stack:
        node = stack.pop()
        if type(node) is Binary:
            stack += (node.a, node.b)
        elif type(node) is Var:
            found.add(node)
        elif type(node) is not Const:
            stack += expr_children(node)
    return found


def mentions(expr: Expr, var: Var) -> bool:
    """Whether ``var`` occurs in ``expr``."""
    # Spelled out by kind: this is the innermost loop of several passes.
    if type(expr) is Binary:
        return mentions(expr.a, var) or mentions(expr.b, var)
    if type(expr) is Var:
        return expr is var or expr == var
    return type(expr) is not Const and any(mentions(child, var) for child in expr_children(expr))


def has_load(expr: Expr) -> bool:
    """Whether the value depends on memory."""
    if type(expr) is Binary:
        return has_load(expr.a) or has_load(expr.b)
    if type(expr) is Var or type(expr) is Const:
        return False
    return type(expr) is Load or any(has_load(child) for child in expr_children(expr))


def coefficient(expr: Expr, var: Var) -> Expr | None:
    """The factor of ``var`` in a sum, or None where ``expr`` is not linear in it.

    >>> i, j = Var("i"), Var("j")
    >>> print(coefficient(i * 64 + j * 8 + 3, j))
    8
    """
    match expr:
        case Var():
            return const(1 if expr == var else 0, expr.dtype)
        case Binary(op="add", a=a, b=b):
            x, y = coefficient(a, var), coefficient(b, var)
            return None if x is None or y is None else add(x, y)
        case Binary(op="sub", a=a, b=b):
            x, y = coefficient(a, var), coefficient(b, var)
            return None if x is None or y is None else sub(x, y)
        case Binary(op="mul", a=a, b=b) if not mentions(b, var):
            x = coefficient(a, var)
            return None if x is None else mul(x, b)
        case Binary(op="mul", a=a, b=b) if not mentions(a, var):
            y = coefficient(b, var)
            return None if y is None else mul(y, a)
        case _:
            return None if mentions(expr, var) else const(0, expr.dtype)


def int_coefficient(expr: Expr, var: Var) -> int | None:
    """`coefficient` where it is a known integer, else None."""
    factor = coefficient(expr, var)
    return None if factor is None else int_value(factor)


def split_offset(expr: Expr) -> tuple[Expr | None, int]:
    """``expr`` as base plus constant; the base is None for a constant.

    >>> i = Var("i")
    >>> base, offset = split_offset(i * 8 - 3)
    >>> print(base, offset)
    i * 8 -3
    """
    match expr:
        case Const():
            return None, int(expr.value)
        case Binary(op="add", a=base, b=Const(value=offset)):
            return base, int(offset)
        case Binary(op="sub", a=base, b=Const(value=offset)):
            return base, -int(offset)
        case _:
            return expr, 0


def with_offset(expr: Expr, offset: int) -> Expr:
    """``expr + offset`` with the constants kept together at the end."""
    if offset == 0:
        return expr
    base, constant = split_offset(expr)
    total = constant + offset
    if base is None:
        return const(total, expr.dtype)
    return add(base, total) if total >= 0 else sub(base, -total)


def accumulates(store: Store) -> bool:
    """Whether a store updates a place in memory from its own value."""
    # A sum that is in a register already, as row sums in vectors are, needs no tile.
    return store.buffer.scope != "register" and any(
        load.buffer == store.buffer and load.indices == store.indices
        for load in expr_loads(store.value)
    )
