"""The elements that each thread touches, counted out with NumPy.

An index is a sum. Terms and conditions that share no variable are counted out apart from each
other, and the sums of what they come to are taken at last: a tile of 64 x 256 elements that 384
threads touch together is 64, 256 and 384 numbers, not six million. Of an element, only the lowest
and the highest thread that touch it are kept; that tells whether another one than a given does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from metasched.analysis.facts import terms
from metasched.ir.expr import Binary, Cast, Const, Expr, Var, const
from metasched.ir.walk import free_vars

Array: TypeAlias = npt.NDArray[np.int64]
Values: TypeAlias = "dict[Var, int]"

_THREAD_BITS: Final = 16
"""Bits that hold the number of a thread of a block."""


class Uncountable(Exception):
    """An expression depends on more than threads and loops."""


@dataclass(frozen=True, slots=True, eq=False)
class Touched:
    """Elements in ascending order, each once, and the threads that touch them.

    Args:
        elements: the elements.
        low: the lowest number of a thread that touches the element.
        high: the highest one.
    """

    elements: Array
    low: Array
    high: Array

    def __add__(self, other: Touched) -> Touched:
        """All sums of an element of each, with the sums of their threads' numbers."""
        return _least(
            np.add.outer(self.elements, other.elements),
            np.add.outer(self.low, other.low),
            np.add.outer(self.high, other.high),
        )

    def meets(self, other: Touched, distance: int) -> bool:
        """Whether one thread touches an element here and another one, ``distance`` on, there."""
        there = other.elements + distance
        if not len(there) or not len(self.elements):
            return False
        if there[0] > self.elements[-1] or there[-1] < self.elements[0]:
            return False
        at = np.minimum(np.searchsorted(self.elements, there), len(self.elements) - 1)
        met = self.elements[at] == there
        return bool(np.any(met & ((self.low[at] != other.high) | (self.high[at] != other.low))))


def count_out(
    index: Expr,
    conditions: Sequence[Expr],
    extents: Mapping[Var, int],
    strides: Mapping[Var, int],
    known: Values,
) -> Touched:
    """The elements that an index comes to.

    Args:
        index: the element.
        conditions: what holds where it is touched.
        extents: values of each variable of threads and loops.
        strides: what a step of a thread axis adds to the number of the thread.
        known: values of all other variables.

    Raises:
        Uncountable: an expression cannot be evaluated.
    """
    groups = _grouped(index, conditions, extents)
    return reduce(Touched.__add__, sorted((g.count(strides, known) for g in groups), key=_size))


@dataclass(frozen=True, slots=True)
class _Group:
    """Terms of a sum and conditions that depend on some variables and on no others."""

    extents: Mapping[Var, int]
    index: Expr
    conditions: tuple[Expr, ...] = ()

    def count(self, strides: Mapping[Var, int], known: Values) -> Touched:
        shape = tuple(self.extents.values())
        grid: dict[Var, Array | int] = {
            var: np.arange(extent).reshape([-1 if k == n else 1 for k in range(len(shape))])
            for n, (var, extent) in enumerate(self.extents.items())
        }
        threads = sum((grid[v] * strides[v] for v in self.extents if v in strides), np.int64(0))
        grid |= known
        mask = np.ones(shape, np.bool_)
        for condition in self.conditions:
            mask &= np.asarray(value_of(condition, grid), np.bool_)
        elements = np.broadcast_to(np.asarray(value_of(self.index, grid)), shape)[mask]
        touching = np.broadcast_to(np.asarray(threads), shape)[mask]
        return _least(elements, touching, touching)


def _grouped(
    index: Expr, conditions: Sequence[Expr], extents: Mapping[Var, int]
) -> tuple[_Group, ...]:
    groups = [_Group({var: extent}, const(0)) for var, extent in extents.items()]
    for coefficient, atoms in terms(index):
        term: Expr = const(coefficient)
        for atom in atoms:
            term = term * atom
        groups = _joined(groups, _Group({}, term), free_vars(term))
    for condition in conditions:
        groups = _joined(groups, _Group({}, const(0), (condition,)), free_vars(condition))
    return tuple(groups)


def _joined(groups: list[_Group], added: _Group, used: set[Var]) -> list[_Group]:
    """The groups, those with some of the variables made one."""
    apart: list[_Group] = []
    for group in groups:
        if used.isdisjoint(group.extents):
            apart.append(group)
        else:
            extents = {**added.extents, **group.extents}
            both = (*added.conditions, *group.conditions)
            added = _Group(extents, added.index + group.index, both)
    return [*apart, added]


def _least(elements: Array, low: Array, high: Array) -> Touched:
    """Each element once, with the lowest and the highest of its threads."""
    lows = np.sort((elements.ravel() << _THREAD_BITS) | low.ravel())
    highs = lows if high is low else np.sort((elements.ravel() << _THREAD_BITS) | high.ravel())
    each = lows >> _THREAD_BITS
    changes = each[1:] != each[:-1]
    some = np.ones(min(1, len(each)), np.bool_)
    first, last = np.concatenate((some, changes)), np.concatenate((changes, some))
    within = (1 << _THREAD_BITS) - 1
    return Touched(each[first], lows[first] & within, highs[last] & within)


def _size(touched: Touched) -> int:
    return len(touched.elements)


_OPERATIONS: Final = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "floordiv": np.floor_divide,
    "floormod": np.mod, "min": np.minimum, "max": np.maximum, "eq": np.equal,
    "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "and": np.logical_and,
    "or": np.logical_or,
}  # fmt: skip


def value_of(expr: Expr, values: Mapping[Var, Array | int]) -> Array | int:
    """An integer expression for many values of its variables at once.

    Raises:
        Uncountable: it holds a variable without a value, or a load.
    """
    match expr:
        case Const():
            return int(expr.value)
        case Var() if expr in values:
            return values[expr]
        case Cast() if expr.dtype.is_int:
            return value_of(expr.value, values)
        case Binary() if expr.op in _OPERATIONS:
            return _OPERATIONS[expr.op](value_of(expr.a, values), value_of(expr.b, values))
        case _:
            raise Uncountable
