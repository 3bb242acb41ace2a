"""What is known at one point of a program: how far indices reach while loops inside it run.

`Facts` knows the ranges of the loops and which tile factors multiply to which extent. It *relaxes*
an index: the loops inside the point are run through, and what is left is the smallest value and
the distance to the largest. Tile sizes may be symbols; a tile of a strided access then spans
``(t - 1) * s + k``. Bounds are safe (never too small), if wide for quotients and remainders of
symbolic tiles; `Facts.is_dense` says when they are exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Final, TypeAlias

from metasched.analysis.digits import FusedDigits
from metasched.ir.dtype import INT64, DType
from metasched.ir.expr import (
    Binary,
    Const,
    Expr,
    Var,
    add,
    const,
    int_value,
    less_equal,
    maximum,
    minimum,
    mul,
    sub,
)
from metasched.ir.simplify import Simplifier, product
from metasched.ir.stmt import Region
from metasched.ir.walk import free_vars, substitute

Range: TypeAlias = "tuple[Expr, Expr]"
"""First index and extent."""

Box: TypeAlias = "tuple[Range | None, ...]"
"""One range per dimension; None stands for the whole dimension."""

Tiles: TypeAlias = Sequence[tuple[tuple[Expr, ...], Expr]]
"""Tuples of factors with the extent they multiply to."""


class Facts:
    """What is known about loops and tile factors.

    Args:
        ranges: the extent of every loop variable in sight.
        tiles: factors that multiply to an extent.
    """

    def __init__(self, ranges: Mapping[Var, Expr], tiles: Tiles = ()) -> None:
        self.ranges = dict(ranges)
        self.simplify = Simplifier(ranges)
        self._tiles = tiles
        self._relaxed: dict[frozenset[Var], dict[Expr, Range | None]] = {}

    # -- proofs --------------------------------------------------------------------------------

    def nonneg(self, expr: Expr) -> bool:
        """Whether an expression is provably at least 0.

        >>> i, t0, t1 = Var("i"), Var("t0"), Var("t1")
        >>> Facts({i: t0}, [((t0, t1), const(12))]).nonneg(12 - (i * t1 + t1))
        True
        """
        low, _ = self.simplify.bounds(expr)
        if low is not None and (low >= 0 or not self._tiles):
            return low >= 0
        minimal = self.simplify.lower(expr)
        if free_vars(minimal) & self.ranges.keys():
            return False
        folded = self._fold(minimal)
        zero, sizes = const(0, expr.dtype), Simplifier()
        if sizes.can_prove(less_equal(zero, folded)):
            return True
        return sizes.can_prove(less_equal(zero, self._unfold(folded)))

    def within(self, inner: Range, outer: Range) -> bool:
        """Whether a range provably lies in another."""
        if inner == outer:
            return True
        space = outer[0] + outer[1] - inner[0]
        match inner[1]:
            case Binary(op="min", a=a, b=b):
                # One bound is enough, and the simplifier does not look into minima.
                fits = self.nonneg(space - a) or self.nonneg(space - b)
            case extent:
                fits = self.nonneg(space - extent)
        return fits and self.nonneg(inner[0] - outer[0])

    def _fold(self, expr: Expr) -> Expr:
        """Replace complete products of tile factors by the extent."""
        if not self._tiles:
            return expr
        total: Expr = const(0, expr.dtype)
        for coefficient, atoms in terms(expr):
            left, found = Counter(atoms), const(coefficient, expr.dtype)
            value: Expr = found
            for factors, extent in self._tiles:
                if not Counter(factors) - left:
                    left -= Counter(factors)
                    value = mul(value, extent)
            total = add(total, mul(value, product(left.elements())))
        return Simplifier()(total)

    def _unfold(self, expr: Expr) -> Expr:
        """Trade constants for complete products, where an incomplete one is subtracted."""
        total = expr
        for coefficient, atoms in terms(expr):
            if coefficient >= 0 or not atoms:
                continue
            for factors, extent in self._tiles:
                if not Counter(atoms) - Counter(factors):
                    total = total + (product(factors) - extent) * -coefficient
                    break
        return Simplifier()(total)

    # -- relaxation ----------------------------------------------------------------------------

    def relax(self, expr: Expr, inner: Collection[Var]) -> Range | None:
        """The range that an index runs through while the ``inner`` loops run.

        Returns:
            The first value, over the other loops, and the extent, over sizes only; None where no
            such range is known.
        """
        known = self._relaxed.setdefault(frozenset(inner), {})
        if expr not in known:
            known[expr] = self._relax(expr, inner)
        return known[expr]

    def _relax(self, expr: Expr, inner: Collection[Var]) -> Range | None:
        plain = self.simplify.span(expr, inner)
        if plain is not None:
            return plain[0], const(plain[1] + 1, expr.dtype)
        simple = self.simplify(expr)
        found = self._span(simple, inner)
        if found is None:
            return None
        if found[1] is _zero(expr.dtype):
            return simple, const(1, expr.dtype)
        return self.simplify(found[0]), self._fold(self.simplify(add(found[1], 1)))

    def _span(self, expr: Expr, inner: Collection[Var]) -> Range | None:
        """Lowest value, and the distance to the highest."""
        zero = _zero(expr.dtype)
        match expr:
            case Const():
                return expr, zero
            case Var():
                if expr not in inner:
                    return expr, zero
                extent = self._size(self.ranges[expr])
                return None if extent is None else (zero, self._last(extent))
            case Binary():
                a, b = self._span(expr.a, inner), self._span(expr.b, inner)
                return None if a is None or b is None else self._combine(expr, a, b)
            case _:
                return None if free_vars(expr) & set(inner) else (expr, zero)

    def _last(self, extent: Expr) -> Expr:
        return _zero(extent.dtype) if int_value(extent) == 1 else sub(extent, 1)

    def _size(self, extent: Expr) -> Expr | None:
        """An extent without loop variables, maybe larger."""
        if not free_vars(extent) & self.ranges.keys():
            return extent
        _, high = self.simplify.bounds(extent)
        return None if high is None else const(high, extent.dtype)

    def _combine(self, expr: Binary, a: Range, b: Range) -> Range | None:
        zero = _zero(expr.dtype)
        if a[1] is zero and b[1] is zero:
            return expr, zero
        match expr.op:
            case "add":
                return add(a[0], b[0]), add(a[1], b[1])
            case "sub":
                return sub(sub(a[0], b[0]), b[1]), add(a[1], b[1])
            case "mul" if b[1] is zero:
                return self._scale(a, b[0])
            case "mul" if a[1] is zero:
                return self._scale(b, a[0])
            case "floordiv" if b[1] is zero:
                return self._quotient(a, b[0])
            case "floormod" if b[1] is zero:
                return self._remainder(a, b[0])
            case "min" | "max":
                build = minimum if expr.op == "min" else maximum
                return build(a[0], b[0]), maximum(a[1], b[1])
            case _:
                return None

    def _scale(self, a: Range, by: Expr) -> Range | None:
        factor = int_value(by)
        if factor is not None and factor < 0:
            return mul(add(a[0], a[1]), by), mul(a[1], -factor)
        if free_vars(by) & self.ranges.keys() or not self.nonneg(by):
            return None
        return mul(a[0], by), mul(a[1], by)

    def _quotient(self, a: Range, by: Expr) -> Range | None:
        if free_vars(by) & self.ranges.keys() or not self.nonneg(by - 1):
            return None
        low = self.simplify(a[0] // by)
        if self.simplify(a[0] % by) == const(0, by.dtype):
            return low, self.simplify(a[1] // by)
        return low, self.simplify((a[1] + by - 1) // by)

    def _remainder(self, a: Range, by: Expr) -> Range | None:
        if free_vars(by) & self.ranges.keys() or not self.nonneg(by - 1):
            return None
        first = self.simplify(a[0] % by)
        if self.nonneg(by - 1 - first - a[1]):
            return first, a[1]
        return const(0, by.dtype), by - 1

    def is_dense(self, exprs: Iterable[Expr], inner: Collection[Var]) -> bool:
        """Whether indices take every value of their box while the inner loops run.

        They do when, dimension by dimension, the loops count like digits: the steps are 1, the
        extent of that loop, the product of the first two extents, ...; and no loop serves twice.
        """
        return self._all_digits([self.simplify(e) for e in exprs], inner) is not None

    def is_one_to_one(self, exprs: Iterable[Expr], inner: Collection[Var]) -> bool:
        """Whether each iteration of the inner loops gives the indices other values.

        A fused loop counts by its digits: ``f // 4`` and ``f % 4`` together give ``f``.

        >>> f, k = Var("f"), Var("k")
        >>> known = Facts({f: const(8), k: const(3)})
        >>> known.is_one_to_one([f // 4 * 3 + k, f % 4], [f, k])
        True
        >>> known.is_one_to_one([f // 4], [f]), known.is_one_to_one([f], [f, k])
        (False, False)

        Loops around a part that others run through may count with gaps: ``8 * f + 64 * k``.

        >>> Facts({f: const(2), k: const(3)}).is_one_to_one([f * 8 + k * 64], [f, k])
        True
        >>> Facts({f: const(9), k: const(3)}).is_one_to_one([f * 8 + k * 64], [f, k])
        False
        """
        given = list(exprs)
        # Bindings are mostly simple already, and to simplify them anew is the expensive part.
        return self._counts_once(given, inner) or self._counts_once(
            [self.simplify(e) for e in given], inner
        )

    def _counts_once(self, exprs: Iterable[Expr], inner: Collection[Var]) -> bool:
        taken = FusedDigits(self.simplify, inner)
        whole = [taken.visit(e) for e in exprs]
        if not taken.are_complete(self.nonneg):
            return False
        known = Facts({**self.ranges, **taken.extents}, self._tiles) if taken.extents else self
        loops = {*inner, *taken.extents}
        used = known._all_digits([*whole, *taken.bases], loops, gaps=True)
        return used is not None and all(
            var in used or int_value(known.ranges[var]) == 1 for var in loops
        )

    def _all_digits(
        self, exprs: Iterable[Expr], inner: Collection[Var], *, gaps: bool = False
    ) -> set[Var] | None:
        """The inner loops in indices that count like digits, each loop once; else None.

        With ``gaps``, a digit may leave out values, as the loops around another one between do.
        """
        used: set[Var] = set()
        for expr in exprs:
            digits = self._digits(expr, inner, gaps=gaps)
            if digits is None or not used.isdisjoint(digits):
                return None
            used.update(digits)
        return used

    def _digits(self, expr: Expr, inner: Collection[Var], *, gaps: bool) -> set[Var] | None:
        steps: dict[Expr, Var] = {}
        for coefficient, atoms in terms(expr):
            moving = [a for a in atoms if not free_vars(a).isdisjoint(inner)]
            if not moving:
                continue
            digit = moving[0]
            if len(moving) > 1 or not isinstance(digit, Var):
                return None
            if int_value(self.ranges[digit]) == 1:
                continue
            step = product([const(coefficient), *(a for a in atoms if a is not digit)])
            if steps.setdefault(step, digit) is not digit:
                return None
        found: set[Var] = set()
        reached: Expr = const(1)
        while steps:
            step = reached if reached in steps or not gaps else _least_step(steps, reached)
            following = None if step is None else steps.pop(step, None)
            if step is None or following is None:
                return None
            found.add(following)
            reached = product([step, self.ranges[following]])
        return found

    def including(self, ranges: Mapping[Var, Expr]) -> Facts:
        """The same facts and the extents of some more loops."""
        return Facts({**self.ranges, **ranges}, self._tiles) if ranges else self

    # -- boxes ---------------------------------------------------------------------------------

    def box(self, region: Region, bindings: Mapping[Var, Expr], inner: Collection[Var]) -> Box:
        """The box of a buffer that a block's region covers while the inner loops run."""
        return tuple(self._range(r, bindings, inner) for r in region.ranges)

    def _range(
        self, pair: Range, bindings: Mapping[Var, Expr], inner: Collection[Var]
    ) -> Range | None:
        found = self.relax(substitute(pair[0], bindings), inner)
        if found is None or int_value(pair[1]) == 1:
            return found
        if free_vars(pair[1]) & bindings.keys():
            return None
        extra = self.simplify(pair[1] - 1)
        return found[0], self.simplify(add(found[1], extra))

    def hull(self, a: Box, b: Box) -> Box:
        """A box around two boxes."""
        return tuple(self.join(x, y) for x, y in zip(a, b, strict=True))

    def join(self, a: Range | None, b: Range | None) -> Range | None:
        """A range around two ranges; None where their distance depends on a loop."""
        if a is None or b is None or a == b:
            return None if a is None or b is None else a
        ahead = self.simplify(b[0] - a[0])
        if free_vars(ahead) & self.ranges.keys():
            return None
        if self.nonneg(-ahead):
            a, b, ahead = b, a, self.simplify(-ahead)
        elif not self.nonneg(ahead):
            return None
        return a[0], self.simplify(maximum(a[1], add(ahead, b[1])))


def _least_step(steps: Iterable[Expr], reached: Expr) -> Expr | None:
    """The step that divides all others, if what was reached divides it."""
    known = tuple(steps)
    least = next((s for s in known if all(_divides(s, other) for other in known)), None)
    return least if least is not None and _divides(reached, least) else None


def _divides(a: Expr, b: Expr) -> bool:
    """Whether one product of numbers and sizes is a multiple of another."""
    pairs = (next(iter(terms(a)), (0, ())), next(iter(terms(b)), (0, ())))
    (by, sizes), (whole, factors) = pairs
    return by > 0 and whole > 0 and whole % by == 0 and not Counter(sizes) - Counter(factors)


def _zero(dtype: DType) -> Expr:
    """The one object that says that a span is empty, so that it can be told by identity."""
    return _ZERO if dtype is INT64 else _other_zero(dtype)


_ZERO: Final = Const(0, INT64)


@cache
def _other_zero(dtype: DType) -> Expr:
    return _ZERO if dtype == INT64 else Const(0, dtype)


def terms(expr: Expr, sign: int = 1) -> Iterator[tuple[int, tuple[Expr, ...]]]:
    """The terms of a simplified sum: coefficient and atoms.

    >>> i, t = Var("i"), Var("t")
    >>> [(c, [str(a) for a in atoms]) for c, atoms in terms(i * t * 4 - 3)]
    [(4, ['i', 't']), (-3, [])]
    """
    match expr:
        case Binary(op="add"):
            yield from terms(expr.a, sign)
            yield from terms(expr.b, sign)
        case Binary(op="sub"):
            yield from terms(expr.a, sign)
            yield from terms(expr.b, -sign)
        case _:
            coefficient, atoms = sign, list[Expr]()
            for factor in _factors(expr):
                value = int_value(factor)
                if value is None:
                    atoms.append(factor)
                else:
                    coefficient *= value
            yield coefficient, tuple(atoms)


def _factors(expr: Expr) -> Iterator[Expr]:
    if isinstance(expr, Binary) and expr.op == "mul":
        yield from _factors(expr.a)
        yield from _factors(expr.b)
    else:
        yield expr
