"""Iterations of a block divided into a part that loops outside count and one inside: for blockize.

A binding is ``outside * size + inside`` with ``inside`` in ``[0, size)``. Like all rewrites it is
decided by structure, so tile sizes may be symbols.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from metasched.analysis.facts import Facts, terms
from metasched.ir.dtype import DType
from metasched.ir.expr import Expr, Var, add, const, floordiv, int_value, mul
from metasched.ir.simplify import Simplifier, product
from metasched.ir.stmt import IterVar
from metasched.ir.walk import free_vars


@dataclass(frozen=True, slots=True)
class Halves:
    """An iteration ``outside * size + inside``.

    Attributes:
        axis: the iteration.
        outside: what counts the parts, over loops outside.
        count: how many parts there are.
        inside: the place in a part, over loops inside; None where no loop inside takes part.
        size: the extent of a part.
    """

    axis: IterVar
    outside: Expr
    count: Expr
    inside: Expr | None
    size: Expr

    @property
    def is_one_part(self) -> bool:
        """Whether there is a single part."""
        return int_value(self.count) == 1

    @property
    def has_unit_parts(self) -> bool:
        """Whether each part is a single iteration."""
        return self.inside is None or int_value(self.size) == 1


def divide(
    axis: IterVar, inner: Collection[Var], known: Facts, simplify: Simplifier
) -> Halves | None:
    """Divide an iteration at a loop.

    Args:
        axis: the iteration.
        inner: the loops inside.
        known: the ranges of all loops.
        simplify: the same, keeping loops of extent 1.

    Returns:
        None where the loops inside do not run through parts of one size.
    """
    dtype = axis.var.dtype
    one, zero = const(1, dtype), const(0, dtype)
    binding = simplify(axis.binding)
    if free_vars(binding).isdisjoint(inner):
        return Halves(axis, binding, axis.extent, None, one)
    moving: list[_Term] = []
    fixed: list[_Term] = []
    for term in terms(binding):
        still = all(free_vars(atom).isdisjoint(inner) for atom in term[1])
        (fixed if still else moving).append(term)
    inside = _sum(moving, dtype)
    if not fixed:
        return Halves(axis, zero, one, inside, axis.extent)
    span = known.relax(inside, inner)
    if span is None or span[0] != zero:
        return None
    size = span[1]
    part = int_value(size)
    if part and not any(coefficient % part for coefficient, _ in fixed):
        count = _sum([(coefficient // part, atoms) for coefficient, atoms in fixed], dtype)
    else:
        count = _quotient(_sum(fixed, dtype), size, simplify)
    parts = _quotient(axis.extent, size, simplify)
    if parts is None:
        parts = _counted(axis.extent, count, size, known)
    if count is None or parts is None:
        return None
    return Halves(axis, count, parts, inside, size)


_Term: TypeAlias = "tuple[int, tuple[Expr, ...]]"


def _sum(parts: Iterable[_Term], dtype: DType) -> Expr:
    total: Expr = const(0, dtype)
    for coefficient, atoms in parts:
        factor = const(coefficient, dtype)
        plain = coefficient > 0 and len(atoms) == 1
        total = add(total, mul(atoms[0], factor) if plain else product([factor, *atoms]))
    return total


def _quotient(whole: Expr, size: Expr, simplify: Simplifier) -> Expr | None:
    """``whole // size`` where nothing is left over."""
    full, part = int_value(whole), int_value(size)
    if part == 1:
        return simplify(whole)
    if full is not None and part:
        return None if full % part else const(full // part, whole.dtype)
    found = simplify(floordiv(whole, size))
    return found if simplify(mul(found, size) - whole) == const(0, whole.dtype) else None


def _counted(extent: Expr, count: Expr | None, size: Expr, known: Facts) -> Expr | None:
    """How many values ``count`` takes, where they make up ``extent`` (for symbolic tiles)."""
    span = None if count is None else known.relax(count, free_vars(count))
    if span is None or span[0] != const(0, extent.dtype):
        return None
    total = mul(span[1], size)
    return span[1] if known.nonneg(total - extent) and known.nonneg(extent - total) else None
