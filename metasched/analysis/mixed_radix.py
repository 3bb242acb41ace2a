"""Indices as sums of digits, as layouts make them, and the way back from such sums.

A *digit* is ``source // low % extent``. An index of a layout is a sum of digits times scales, as
``j // 8`` or ``i * 6 + j``; where such a sum is divided as a whole, as in ``(i * 6 + j) // 4``, it
becomes a source itself. What a map of indices gives can then be undone digit by digit. Extents may
be symbolic. `metasched.schedule.index_map` is what users see of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cmp_to_key
from typing import TypeAlias

from metasched.errors import UsageError
from metasched.ir.expr import (
    FALSE,
    Binary,
    Const,
    Expr,
    Var,
    const,
    floordiv,
    floormod,
    int_value,
    less,
    less_equal,
    logical_or,
    not_equal,
)
from metasched.ir.simplify import Simplifier, simplify
from metasched.ir.walk import substitute


@dataclass(frozen=True, slots=True)
class Digit:
    """``source // low % extent``; a ``top`` digit holds all that is left, without a remainder."""

    source: Var | Sum
    low: Expr
    extent: Expr
    top: bool

    @property
    def last(self) -> Expr:
        """The largest value."""
        return simplify(self.extent - 1)


Term: TypeAlias = tuple[Digit, Expr]
"""A digit and its scale."""


@dataclass(frozen=True, slots=True)
class Sum:
    """``base`` and digits times scales."""

    terms: tuple[Term, ...] = ()
    base: Expr = field(default_factory=lambda: const(0))

    def plus(self, other: Sum, scale: Expr) -> Sum:
        """This sum and another one times a scale."""
        scales = dict(self.terms)
        for digit, by in other.terms:
            scales[digit] = simplify(scales.get(digit, const(0)) + by * scale)
        kept = tuple((d, s) for d, s in scales.items() if int_value(s) != 0)
        return Sum(kept, simplify(self.base + other.base * scale))

    def least(self) -> Expr:
        """The smallest value."""
        return simplify(sum((d.last * s for d, s in self.terms if _falls(s)), self.base))

    def most(self) -> Expr:
        """The largest value."""
        return simplify(sum((d.last * s for d, s in self.terms if not _falls(s)), self.base))

    def rising(self) -> tuple[tuple[Digit, Expr, bool], ...]:
        """The digits with positive scales, the smallest first; True where one counts down."""
        terms = [(d, simplify(-s) if _falls(s) else s, _falls(s)) for d, s in self.terms]
        return tuple(sorted(terms, key=cmp_to_key(_by_scale)))


class MixedRadix:
    """Reads the outputs of a map of indices.

    Args:
        extents: the indices that the map takes, each in ``[0, extent)``.
    """

    def __init__(self, extents: Mapping[Var, Expr]) -> None:
        self.extents = dict(extents)
        self._divided: dict[tuple[Expr, Expr], tuple[Sum, Sum]] = {}

    # -- reading -------------------------------------------------------------------------------

    def read(self, expr: Expr) -> Sum:
        """The sum of digits that an expression is.

        Raises:
            UsageError: it is none.
        """
        match expr:
            case Var() if expr in self.extents:
                whole = Digit(expr, const(1), self.extents[expr], top=True)
                return Sum(((whole, const(1)),))
            case Const() | Var():
                return Sum((), expr)
            case Binary(op="add"):
                return self.read(expr.a).plus(self.read(expr.b), const(1))
            case Binary(op="sub"):
                return self.read(expr.a).plus(self.read(expr.b), const(-1))
            case Binary(op="mul" | "floordiv" | "floormod"):
                return self._scaled(expr)
            case _:
                raise UsageError(f"{expr} is no sum of digits of indices")

    def _scaled(self, expr: Binary) -> Sum:
        a, b = self.read(expr.a), self.read(expr.b)
        if expr.op == "mul" and not a.terms:
            return Sum().plus(b, a.base)
        if b.terms:
            raise UsageError(f"{expr} scales an index by an index")
        if expr.op == "mul":
            return Sum().plus(a, b.base)
        # A tile and what counts the tiles come together.
        key = expr.a, expr.b
        if key not in self._divided:
            self._divided[key] = self._divide(a, b.base)
        return self._divided[key][0 if expr.op == "floordiv" else 1]

    def _divide(self, value: Sum, by: Expr) -> tuple[Sum, Sum]:
        """Quotient and remainder."""
        if not _at_most(const(1), by):
            raise UsageError(f"a division by {by}, which may be below 1")
        multiples = [_divides(by, s) for _, s in value.terms]
        parts = list(zip(value.terms, multiples, strict=True))
        whole = Sum(tuple((d, simplify(s // by)) for (d, s), exact in parts if exact))
        rest = Sum(tuple(term for term, exact in parts if not exact), value.base)
        if not rest.terms:
            quotient = Sum(whole.terms, simplify(rest.base // by))
            return quotient, Sum((), simplify(rest.base % by))
        # Whole multiples leave the base as far as nothing becomes negative by it.
        least = rest.least()
        floor = rest.base if _at_most(rest.base, least) else least
        if int_value(floor) is not None or _divides(by, floor):
            steps = simplify(floor // by)
            whole = Sum(whole.terms, steps)
            rest = Sum(rest.terms, simplify(rest.base - steps * by))
        if whole.terms and _at_most(const(0), rest.least()) and _at_most(rest.most() + 1, by):
            return whole, rest
        quotient, remainder = _parts(rest, by)
        return whole.plus(_single(quotient), const(1)), _single(remainder)

    # -- shapes --------------------------------------------------------------------------------

    def shape(self, outputs: Sequence[Expr]) -> tuple[Expr, ...]:
        """The extents of outputs, which start at 0 or above.

        Raises:
            UsageError: one of them may be negative, or has no bound that is known.
        """
        return tuple(self._extent(output) for output in outputs)

    def _extent(self, output: Expr) -> Expr:
        try:
            found = self.read(output)
            least, extent = found.least(), simplify(found.most() + 1)
        except UsageError:
            known = Simplifier(self.extents)
            low, high = known.bounds(output)
            if high is None:
                raise UsageError(f"the index {output} has no bound that is known") from None
            least, extent = const(-1 if low is None else low), const(high + 1)
        if not _at_most(const(0), least):
            raise UsageError(f"the index {output} may be negative: it starts at {least}")
        return extent

    # -- the way back --------------------------------------------------------------------------

    def inverse(self, outputs: Sequence[Expr], at: Sequence[Var]) -> tuple[tuple[Expr, ...], Expr]:
        """The indices over the outputs, and where the outputs belong to no index at all.

        Args:
            outputs: what the map gives.
            at: variables that stand for the outputs.

        Raises:
            UsageError: two indices have one image, or it cannot be seen that they have not.
        """
        values = _Values()
        for output, var in zip(outputs, at, strict=True):
            values.solve(self.read(output), var)
        known = Simplifier(dict(zip(at, self.shape(outputs), strict=True)))
        found = {var: known(values.of(var, extent)) for var, extent in self.extents.items()}
        padding: Expr = FALSE
        for var, value in found.items():
            padding = logical_or(padding, known(less(value, const(0))))
            padding = logical_or(padding, known(less_equal(self.extents[var], value)))
        for output, var in zip(outputs, at, strict=True):
            padding = logical_or(padding, known(not_equal(substitute(output, found), var)))
        return tuple(found.values()), padding


class _Values:
    """What is known of digits while a map is undone."""

    def __init__(self) -> None:
        self._digits: dict[Var | Sum, dict[Digit, Expr]] = {}

    def solve(self, total: Sum, value: Expr) -> None:
        """Take the digits out of the value of a sum."""
        terms = total.rising()
        if len(terms) > 1:
            terms = tuple(t for t in terms if int_value(t[0].extent) != 1)
        below: Expr = const(0)
        left = value - total.least()
        for k, (digit, scale, falls) in enumerate(terms):
            if not _at_most(below + 1, scale):
                raise UsageError(f"the indices that add up to {value} overlap")
            below = simplify(below + digit.last * scale)
            part = left
            if k + 1 < len(terms):
                following = terms[k + 1][1]
                if not all(_divides(following, s) for _, s, _ in terms[k + 1 :]):
                    raise UsageError(f"the indices that add up to {value} do not nest")
                part = floormod(part, following)
            part = floordiv(part, scale)
            self._learn(digit, digit.last - part if falls else part)

    def _learn(self, digit: Digit, value: Expr) -> None:
        known = self._digits.setdefault(digit.source, {})
        if digit in known:
            return
        known[digit] = value
        if isinstance(digit.source, Sum):
            whole = self._whole(digit.source, simplify(digit.source.most() + 1))
            if whole is not None:
                self.solve(digit.source, whole)

    def of(self, var: Var, extent: Expr) -> Expr:
        """The value of an index of the map."""
        if int_value(extent) == 1 and var not in self._digits:
            return const(0)
        found = self._whole(var, extent)
        if found is None:
            raise UsageError(f"'{var.name}' does not follow from what the map gives")
        return found

    def _whole(self, source: Var | Sum, extent: Expr) -> Expr | None:
        """The value of a source once its digits cover it."""
        left = dict(self._digits.get(source, {}))
        total: Expr = const(0)
        reached: Expr = const(1)
        while not _at_most(extent, reached):
            fitting = [d for d in left if d.low == reached]
            if not fitting:
                return None
            digit = max(fitting, key=lambda d: d.top)
            total = total + left.pop(digit) * digit.low
            if digit.top:
                break
            reached = simplify(reached * digit.extent)
        return total


def _parts(rest: Sum, by: Expr) -> tuple[Digit, Digit]:
    """The digits that the quotient and the remainder of a sum are."""
    source = _only_digit(rest)
    if source is None or not (source.top or _divides(by, source.extent)):
        if not _at_most(const(0), rest.least()):
            raise UsageError("a division of an index that may be negative")
        source = Digit(rest, const(1), simplify(rest.most() + 1), top=True)
    upper = simplify((source.extent + by - 1) // by)
    return (
        Digit(source.source, simplify(source.low * by), upper, source.top),
        Digit(source.source, source.low, by, top=False),
    )


def _only_digit(value: Sum) -> Digit | None:
    plain = len(value.terms) == 1 and value.base == const(0) and value.terms[0][1] == const(1)
    return value.terms[0][0] if plain else None


def _single(digit: Digit) -> Sum:
    return Sum(((digit, const(1)),))


def _by_scale(a: tuple[Digit, Expr, bool], b: tuple[Digit, Expr, bool]) -> int:
    return 0 if a[1] == b[1] else -1 if _at_most(a[1], b[1]) else 1


def _falls(scale: Expr) -> bool:
    """Whether a scale is negative; one of unknown sign is refused."""
    value = int_value(scale)
    if value is None and not _at_most(const(1), scale):
        raise UsageError(f"an index times {scale}, whose sign is not known")
    return value is not None and value < 0


def _at_most(a: Expr, b: Expr) -> bool:
    """Whether ``a <= b`` for all sizes."""
    holds = less_equal(a, b)
    return bool(holds.value) if type(holds) is Const else Simplifier().can_prove(holds)


def _divides(d: Expr, n: Expr) -> bool:
    return int_value(simplify(n % d)) == 0
