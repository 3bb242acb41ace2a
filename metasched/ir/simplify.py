"""Integer algebra: canonical sums, bounds and proofs about index expressions.

An integer expression is brought to a polynomial over *atoms* (variables and what cannot be taken
apart further: quotients, remainders, minima, loads), so tile sizes may be symbols. Quotients and
remainders of sums split by divisibility and by the ranges of the variables, as tilings need:
``(i0 * 8 + i1) // 8`` is ``i0`` where ``i1 < 8``. The rules follow from Euclidean division.

A `Simplifier` holds the ranges of the variables and memoises; make one per scope.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from math import gcd
from typing import TypeAlias
from typing import cast as typing_cast

from metasched.ir.dtype import DType
from metasched.ir.expr import (
    FALSE,
    TRUE,
    Binary,
    Const,
    Expr,
    Select,
    Var,
    binary,
    const,
    floordiv,
    floormod,
    int_value,
    logical_and,
    logical_or,
    maximum,
    minimum,
    mul,
    select,
)
from metasched.ir.poly import Monomial, Poly, constant, plus, poly_expr, sort_key, times, without
from metasched.ir.walk import map_expr, walk_expr

Interval: TypeAlias = tuple[int | None, int | None]
"""Inclusive bounds; None is unbounded."""


class Simplifier:
    """Simplifies and proves under the ranges of variables.

    Args:
        ranges: for each bounded variable its extent; it runs over ``[0, extent)``. An extent may be
            symbolic. Variables not named here are sizes: at least 1, unbounded above.
        keep_units: keep variables of extent 1 in sums instead of taking them for 0.
    """

    def __init__(
        self, ranges: Mapping[Var, Expr | int] | None = None, *, keep_units: bool = False
    ) -> None:
        self._keep_units = keep_units
        self._ranges: dict[Var, Expr] = {}
        self._polys: dict[Expr, Poly] = {}
        self._sums: dict[Expr, Expr] = {}
        self._intervals: dict[Expr, Interval] = {}
        if ranges:
            # Copied whole, as that asks for no hash.
            self._ranges.update(typing_cast(Mapping[Var, Expr], ranges))
            for var, extent in ranges.items():
                if not isinstance(extent, Expr):
                    self.bind(var, extent)

    def bind(self, var: Var, extent: Expr | int) -> None:
        """Add the range ``[0, extent)`` of one more variable (before it is used)."""
        self._ranges[var] = extent if isinstance(extent, Expr) else const(extent, var.dtype)

    # -- simplification ------------------------------------------------------------------------

    def __call__(self, expr: Expr) -> Expr:
        """An equal, simpler expression in canonical form."""
        if type(expr) is Const or (type(expr) is Var and not self._is_unit(expr)):
            return expr
        if expr.dtype.is_int and expr.dtype.lanes == 1:
            found = self._sums.get(expr)
            if found is None:
                found = self._sums[expr] = poly_expr(self._poly(expr), expr.dtype)
            return found
        match expr:
            case Binary(op="and"):
                return logical_and(self(expr.a), self(expr.b))
            case Binary(op="or"):
                return logical_or(self(expr.a), self(expr.b))
            case Binary(op="eq" | "ne" | "lt" | "le") if expr.a.dtype.is_int:
                return self._compare(expr)
            case Select():
                return select(self(expr.cond), self(expr.then), self(expr.other))
            case _:
                return map_expr(expr, self)

    def _is_unit(self, var: Var) -> bool:
        if self._keep_units:
            return False
        extent = self._ranges.get(var)
        return extent is not None and int_value(extent) == 1

    def _compare(self, expr: Binary) -> Expr:
        difference = plus(self._poly(expr.a), self._poly(expr.b), -1)
        low, high = self._bounds(difference)
        match expr.op:
            case "lt":
                known = True if high is not None and high < 0 else None
                known = False if low is not None and low >= 0 else known
            case "le":
                known = True if high is not None and high <= 0 else None
                known = False if low is not None and low > 0 else known
            case "eq":
                apart = (low is not None and low > 0) or (high is not None and high < 0)
                known = False if apart else True if low == high == 0 else None
            case _:
                apart = (low is not None and low > 0) or (high is not None and high < 0)
                known = True if apart else False if low == high == 0 else None
        if known is None and expr.op in ("lt", "le"):
            slack = 1 if expr.op == "lt" else 0
            if self._nonneg(plus({(): -slack}, difference, -1)):
                known = True
            elif self._nonneg(plus(difference, {(): 1 - slack}, -1)):
                known = False
        if known is not None:
            return TRUE if known else FALSE
        return binary(expr.op, self(expr.a), self(expr.b))

    def _poly(self, expr: Expr) -> Poly:
        found = self._polys.get(expr)
        if found is None:
            found = self._polys[expr] = self._make_poly(expr)
        return found

    def _make_poly(self, expr: Expr) -> Poly:
        match expr:
            case Const():
                return {(): int(expr.value)} if expr.value else {}
            case Var():
                return {} if self._is_unit(expr) else {(expr,): 1}
            case Binary():
                return self._binary_poly(expr)
            case Select():
                chosen = select(self(expr.cond), self(expr.then), self(expr.other))
                return {(chosen,): 1} if type(chosen) is Select else self._poly(chosen)
            case _:
                return {(map_expr(expr, self),): 1}

    def _binary_poly(self, expr: Binary) -> Poly:
        match expr.op:
            case "add":
                return self._recompose(plus(self._poly(expr.a), self._poly(expr.b)))
            case "sub":
                return self._recompose(plus(self._poly(expr.a), self._poly(expr.b), -1))
            case "mul":
                return times(self._poly(expr.a), self._poly(expr.b))
            case "floordiv":
                return self._floordiv(self._poly(expr.a), self._poly(expr.b), expr.dtype)
            case "floormod":
                return self._floormod(self._poly(expr.a), self._poly(expr.b), expr.dtype)
            case "min" | "max":
                return self._extremum(expr)
            case _:
                return {(map_expr(expr, self),): 1}

    def _extremum(self, expr: Binary) -> Poly:
        a, b = self._poly(expr.a), self._poly(expr.b)
        difference = plus(a, b, -1)
        if self._nonneg(difference):
            return b if expr.op == "min" else a
        if self._nonneg(plus({}, difference, -1)):
            return a if expr.op == "min" else b
        build = minimum if expr.op == "min" else maximum
        x, y = poly_expr(a, expr.dtype), poly_expr(b, expr.dtype)
        return {(build(*sorted((x, y), key=sort_key)),): 1}

    def _recompose(self, poly: Poly) -> Poly:
        """Fold ``(x // d) * d + x % d`` back into ``x``."""
        for m in list(poly):
            if len(m) != 1 or type(m[0]) is not Binary or m not in poly:
                continue
            match m[0]:
                case Binary(op="floormod", a=x, b=d):
                    # x % d may have come from (x' // e) % d with x = x' // e already simplified.
                    whole = times(self._poly(floordiv(x, d)), self._poly(d))
                    key = next(iter(whole)) if len(whole) == 1 else None
                    c = poly[m]
                    if key and poly.get(key) == c * whole[key]:
                        rest = {n: v for n, v in poly.items() if n not in (m, key)}
                        poly = plus(rest, self._poly(x), c)
                case _:
                    pass
        return poly

    def _floordiv(self, p: Poly, d: Poly, dtype: DType) -> Poly:
        split = self._divide(p, d)
        if split is not None:
            quotient, rest = split
            if not rest or self._within(rest, d):
                return quotient
            size = constant(d)
            if size is None and self._within(plus(rest, d), d):
                return plus(quotient, {(): 1}, -1)
            if size is not None and (finer := self._common_step(rest, size)) is not None:
                step, coarse = finer
                inner = self._floordiv(coarse, {(): size // step}, dtype)
                return plus(quotient, inner)
            if quotient:
                return plus(quotient, self._quotient_atom(rest, d, dtype))
        return self._quotient_atom(p, d, dtype)

    def _quotient_atom(self, p: Poly, d: Poly, dtype: DType) -> Poly:
        value = floordiv(poly_expr(p, dtype), poly_expr(d, dtype))
        match value:
            case Binary(op="floordiv", a=Binary(op="floordiv", a=x, b=e), b=f):
                return self._poly(floordiv(x, mul(e, f)))
            case Const():
                return {(): int(value.value)} if value.value else {}
            case _:
                return {(value,): 1}

    def _floormod(self, p: Poly, d: Poly, dtype: DType) -> Poly:
        split = self._divide(p, d)
        if split is not None:
            _, p = split
            if not p or self._within(p, d):
                return p
            size = constant(d)
            if size is not None and (finer := self._common_step(p, size)) is not None:
                step, coarse = finer
                fine = plus(p, coarse, -step)
                inner = self._floormod(coarse, {(): size // step}, dtype)
                return plus(fine, inner, step)
        value = floormod(poly_expr(p, dtype), poly_expr(d, dtype))
        if type(value) is Const:
            return {(): int(value.value)} if value.value else {}
        return {(value,): 1}

    def _divide(self, p: Poly, d: Poly) -> tuple[Poly, Poly] | None:
        """``p = q * d + r`` with q taking every monomial that d divides."""
        if len(d) != 1:
            return None
        ((atoms, size),) = d.items()
        if size <= 0:
            return None
        quotient: Poly = {}
        rest: Poly = {}
        for m, c in p.items():
            left = without(m, atoms)
            if left is None:
                rest[m] = c
            elif not atoms:
                # Constants split with a non-negative remainder; symbols only when they divide.
                q, r = divmod(c, size) if not m else (c // size, 0) if c % size == 0 else (0, c)
                if q:
                    quotient[m] = q
                if r:
                    rest[m] = r
            elif c % size == 0:
                quotient[left] = c // size
            else:
                rest[m] = c
        return quotient, rest

    def _within(self, rest: Poly, d: Poly) -> bool:
        low, high = self._bounds(rest)
        size = constant(d)
        if size is not None and low is not None and high is not None:
            return low >= 0 and high < size
        return self._nonneg(rest) and self._nonneg(plus(plus(d, rest, -1), {(): 1}, -1))

    def _common_step(self, p: Poly, size: int) -> tuple[int, Poly] | None:
        """A step dividing ``size`` with ``p = step * coarse + fine`` and ``0 <= fine < step``."""
        steps = {gcd(abs(c), size) for m, c in p.items() if m}
        for step in sorted(steps, reverse=True):
            if step == 1:
                continue
            fine = {m: c for m, c in p.items() if m and c % step}
            offset = p.get((), 0)
            if offset % step:
                fine[()] = offset % step
            if self._within(fine, {(): step}):
                coarse = {m: c // step for m, c in plus(p, fine, -1).items()}
                return step, coarse
        return None

    # -- bounds and proofs ---------------------------------------------------------------------

    def bounds(self, expr: Expr) -> Interval:
        """Inclusive integer bounds of an expression; None where unbounded."""
        return self._bounds(self._poly(expr))

    def can_prove(self, condition: Expr) -> bool:
        """Whether a condition holds for every value of its variables."""
        return self(condition) == TRUE

    def span(self, expr: Expr, inner: Collection[Var]) -> tuple[Expr, int] | None:
        """The lowest value while some variables move, and the distance to the highest.

        Returns:
            None where it takes more than a sum in which they stand alone and have constant extents.
        """
        low: Poly = {}
        offset, distance = 0, 0
        for m, c in self._poly(expr).items():
            var = m[0] if len(m) == 1 else None
            if type(var) is Var and var in inner:
                extent = int_value(self._ranges[var])
                if extent is None:
                    return None
                distance += abs(c) * (extent - 1)
                offset += min(c, 0) * (extent - 1)
            elif all(type(a) is Var and a not in inner for a in m):
                low[m] = c
            else:
                return None
        return poly_expr(plus(low, {(): offset}) if offset else low, expr.dtype), distance

    def upper(self, expr: Expr) -> Expr:
        """The largest value as an expression over sizes only (ranged variables eliminated)."""
        return poly_expr(self._extreme(self._poly(expr), upper=True), expr.dtype)

    def lower(self, expr: Expr) -> Expr:
        """The smallest value as an expression over sizes only."""
        return poly_expr(self._extreme(self._poly(expr), upper=False), expr.dtype)

    def _bounds(self, poly: Poly) -> Interval:
        low: int | None = 0
        high: int | None = 0
        for m, c in poly.items():
            lo, hi = _scale(self._monomial_bounds(m), c)
            low = None if low is None or lo is None else low + lo
            high = None if high is None or hi is None else high + hi
        return low, high

    def _monomial_bounds(self, m: Monomial) -> Interval:
        if len(m) == 1:
            return self._interval(m[0])
        low, high = 1, 1
        for atom in m:
            lo, hi = self._interval(atom)
            if lo is None or lo < 0:
                return None, None
            low = low * lo
            high = None if high is None or hi is None else high * hi  # type: ignore[assignment]
        return low, high

    def _interval(self, atom: Expr) -> Interval:
        found = self._intervals.get(atom)
        if found is None:
            found = self._intervals[atom] = self._make_interval(atom)
        return found

    def _make_interval(self, atom: Expr) -> Interval:
        match atom:
            case Const():
                return int(atom.value), int(atom.value)
            case Var():
                if atom not in self._ranges:
                    return 1, None
                extent = self._ranges[atom]
                high = int_value(extent)
                if high is None:
                    _, high = self.bounds(extent)
                return 0, None if high is None else max(high - 1, 0)
            case Binary(op="floordiv", b=Const(value=d)) if d > 0:
                low, high = self.bounds(atom.a)
                return (
                    None if low is None else low // int(d),
                    None if high is None else high // int(d),
                )
            case Binary(op="floordiv"):
                low, high = self.bounds(atom.a)
                return (0, high) if low is not None and low >= 0 else (None, None)
            case Binary(op="floormod"):
                _, size = self.bounds(atom.b)
                return 0, None if size is None else size - 1
            case Binary(op="min" | "max"):
                return _extremum_bounds(atom.op, self.bounds(atom.a), self.bounds(atom.b))
            case Select():
                return _hull(self.bounds(atom.then), self.bounds(atom.other))
            case _:
                return None, None

    def _extreme(self, poly: Poly, *, upper: bool) -> Poly:
        """Replace ranged variables by the end of their range that maximises or minimises."""
        result: Poly = {}
        for m, c in poly.items():
            term: Poly = {(): c}
            take_high = (c > 0) is upper
            for atom in m:
                term = times(term, self._atom_extreme(atom, upper=take_high))
                if not term:
                    break
            result = plus(result, term)
        return result

    def _atom_extreme(self, atom: Expr, *, upper: bool) -> Poly:
        if type(atom) is Var and atom in self._ranges:
            return plus(self._poly(self._ranges[atom]), {(): 1}, -1) if upper else {}
        low, high = self._interval(atom)
        bound = high if upper else low
        if bound is not None and type(atom) is not Var:
            return {(): bound} if bound else {}
        match atom:
            case Binary(op="min", a=a, b=b) if upper:
                # Either operand bounds a minimum from above; constants read best.
                chosen = a if int_value(a) is not None else b
                return self._extreme(self._poly(chosen), upper=True)
            case Binary(op="floormod", b=d) if upper:
                return plus(self._poly(d), {(): 1}, -1)
            case Binary(op="floordiv", a=a, b=d) if upper and self._is_positive_size(d):
                return self._floordiv(
                    self._extreme(self._poly(a), upper=True), self._poly(d), d.dtype
                )
            case _:
                return {(atom,): 1}

    def _is_positive_size(self, expr: Expr) -> bool:
        """Whether an expression is at least 1 and depends on sizes only."""
        ranged = any(type(node) is Var and node in self._ranges for node in walk_expr(expr))
        return not ranged and self._nonneg(plus(self._poly(expr), {(): 1}, -1))

    def _nonneg(self, poly: Poly) -> bool:
        """Prove ``poly >= 0``: by intervals, else over sizes shifted to start at zero."""
        low, _ = self._bounds(poly)
        if low is not None:
            return low >= 0
        minimal = self._extreme(poly, upper=False)
        shifted: Poly = {}
        for m, c in minimal.items():
            term: Poly = {(): c}
            for atom in m:
                if type(atom) is not Var:
                    return False
                term = times(term, {(atom,): 1, (): 1})
            shifted = plus(shifted, term)
        return all(c >= 0 for c in shifted.values())


def _scale(interval: Interval, c: int) -> Interval:
    low = None if interval[0] is None else interval[0] * c
    high = None if interval[1] is None else interval[1] * c
    return (low, high) if c >= 0 else (high, low)


def _extremum_bounds(op: str, a: Interval, b: Interval) -> Interval:
    lows = [x for x in (a[0], b[0]) if x is not None]
    highs = [x for x in (a[1], b[1]) if x is not None]
    if op == "min":
        return (min(lows) if len(lows) == 2 else None, min(highs, default=None))
    return (max(lows, default=None), max(highs) if len(highs) == 2 else None)


def _hull(a: Interval, b: Interval) -> Interval:
    low = None if a[0] is None or b[0] is None else min(a[0], b[0])
    high = None if a[1] is None or b[1] is None else max(a[1], b[1])
    return low, high


def simplify(expr: Expr, ranges: Mapping[Var, Expr | int] | None = None) -> Expr:
    """Simplify one expression; see `Simplifier` for ``ranges``.

    >>> i, j = Var("i"), Var("j")
    >>> print(simplify((i * 8 + j) // 8, {i: 4, j: 8}))
    i
    """
    return expr if type(expr) is Const else Simplifier(ranges)(expr)


def product(extents: Iterable[Expr | int]) -> Expr:
    """The product of extents, simplified."""
    total: Expr = const(1)
    for extent in extents:
        total = mul(total, extent)
    return total if type(total) is Const else _simplified(total)


@lru_cache(maxsize=4096)
def _simplified(size: Expr) -> Expr:
    return simplify(size)
