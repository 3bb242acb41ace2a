"""Polynomials over atoms, in which `metasched.ir.simplify` computes with index expressions."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

from metasched.ir.dtype import DType
from metasched.ir.expr import Binary, Expr, Var, add, const, sub

Monomial: TypeAlias = tuple[Expr, ...]
Poly: TypeAlias = dict[Monomial, int]
"""Coefficients by monomial (a sorted tuple of atoms; the empty one is the constant)."""


@lru_cache(maxsize=65536)
def sort_key(atom: Expr) -> tuple[int, str]:
    """The order of atoms: variables by name, then the rest by text."""
    return (0, atom.name) if type(atom) is Var else (1, repr(atom))


def times(a: Poly, b: Poly) -> Poly:
    """``a * b``."""
    if len(b) == 1 and () in b:
        scale = b[()]
        return {m: x * scale for m, x in a.items()} if scale else {}
    result: Poly = {}
    for m, x in a.items():
        for n, y in b.items():
            key = tuple(sorted((*m, *n), key=sort_key)) if m and n else m or n
            result[key] = result.get(key, 0) + x * y
    return {m: c for m, c in result.items() if c}


def plus(a: Poly, b: Poly, scale: int = 1) -> Poly:
    """``a + b * scale``."""
    result = dict(a)
    for m, c in b.items():
        total = result.get(m, 0) + scale * c
        if total:
            result[m] = total
        else:
            result.pop(m, None)
    return result


def constant(poly: Poly) -> int | None:
    """The number that a polynomial is, or None."""
    if not poly:
        return 0
    return poly[()] if len(poly) == 1 and () in poly else None


def _place(item: tuple[Monomial, int]) -> tuple[object, ...]:
    """Where a term stands: what is added first, then by size and name."""
    m, c = item
    names = [(0, a.name) if type(a) is Var else sort_key(a) for a in m]
    return c < 0, -abs(c), -len(m), names


def poly_expr(poly: Poly, dtype: DType) -> Expr:
    """A polynomial as an expression.

    Large coefficients first, so tiles read ``i0 * 64 + i1 * 8 + i2``; the constant last.
    """
    if len(poly) == 1:
        ((only, c),) = poly.items()
        if c == 1 and len(only) == 1:
            return only[0]
    total: Expr | None = None
    order = [item for item in poly.items() if item[0]]
    if len(order) > 1:
        order.sort(key=_place)
    # Built directly, since atoms are no constants and this is the hottest loop.
    for m, c in order:
        term: Expr = m[0]
        for atom in m[1:]:
            term = Binary("mul", term, atom)
        if c != 1 and c != -1:
            term = Binary("mul", term, const(abs(c), dtype))
        if total is None:
            total = term if c > 0 else sub(const(0, dtype), term)
        else:
            total = Binary("add" if c > 0 else "sub", total, term)
    offset = poly.get((), 0)
    if total is None:
        return const(offset, dtype)
    if not offset:
        return total
    return add(total, offset) if offset > 0 else sub(total, -offset)


def without(m: Monomial, atoms: Monomial) -> Monomial | None:
    """Remove the atoms of a divisor from a monomial, or None if they are not all in it."""
    left = list(m)
    for atom in atoms:
        if atom not in left:
            return None
        left.remove(atom)
    return tuple(left)
