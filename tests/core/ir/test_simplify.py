"""Every rule keeps the value: random index expressions, checked at every point of their ranges."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metasched.ir.dtype import INT64
from metasched.ir.expr import Binary, Const, Expr, Select, Var, const
from metasched.ir.simplify import Simplifier, product, simplify
from metasched.ir.walk import free_vars

II, J, K, M, N = (Var(name) for name in "ijkmn")
RANGES: dict[Var, Expr | int] = {II: 4, J: 8, K: 1, M: N}
"""m runs below the symbolic size n, which is any positive number."""

Point = Mapping[Var, int]


def points(exprs: list[Expr]) -> Iterator[Point]:
    """Every value of the variables in use, and a few sizes."""
    used = set().union(*(free_vars(e) for e in exprs))
    for n in (1, 2, 3, 7) if used & {M, N} else (1,):
        extents = {II: 4, J: 8, K: 1, M: n}
        axes = [range(extents[v]) if v in used else range(1) for v in (II, J, K, M)]
        for i, j, k, m in itertools.product(*axes):
            yield {II: i, J: j, K: k, M: m, N: n}


def value(expr: Expr, at: Point) -> int:
    match expr:
        case Var():
            return at[expr]
        case Const():
            return int(expr.value)
        case Select():
            return value(expr.then if value(expr.cond, at) else expr.other, at)
        case Binary():
            a, b = value(expr.a, at), value(expr.b, at)
            return int(OPERATIONS[expr.op](a, b))
        case _:
            raise TypeError(expr)


OPERATIONS = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "floordiv": lambda a, b: a // b,
    "floormod": lambda a, b: a % b,
    "min": min,
    "max": max,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "and": lambda a, b: a and b,
    "or": lambda a, b: a or b,
}

variables = st.sampled_from([II, J, K, M, N])
leaves = st.one_of(variables, variables, st.integers(-9, 17).map(const))
divisors = st.one_of(st.sampled_from([2, 3, 4, 8, 12]).map(const), st.just(N))


def grow(sub: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    compare = st.builds(Binary, st.sampled_from(["lt", "le", "eq", "ne"]), sub, sub)
    return st.one_of(
        st.builds(Binary, st.sampled_from(["add", "sub"]), sub, sub),
        st.builds(lambda a, c: Binary("mul", a, c), sub, st.integers(-4, 8).map(const)),
        st.builds(lambda a: Binary("mul", a, N), sub),
        st.builds(Binary, st.sampled_from(["floordiv", "floormod"]), sub, divisors),
        st.builds(Binary, st.sampled_from(["min", "max"]), sub, sub),
        st.builds(Select, compare, sub, sub),
    )


integers = st.recursive(leaves, grow, max_leaves=8)
comparisons = st.builds(Binary, st.sampled_from(["lt", "le", "eq", "ne"]), integers, integers)
conditions = st.recursive(
    comparisons,
    lambda sub: st.builds(Binary, st.sampled_from(["and", "or"]), sub, sub),
    max_leaves=3,
)
thorough = settings(max_examples=120, deadline=None, derandomize=True)


@thorough
@given(integers)
def test_integers_keep_their_value(expr: Expr) -> None:
    simple = simplify(expr, RANGES)
    for at in points([expr, simple]):
        assert value(simple, at) == value(expr, at), f"{expr} became {simple} at {at}"


@thorough
@given(conditions)
def test_conditions_keep_their_value(expr: Expr) -> None:
    simple = simplify(expr, RANGES)
    for at in points([expr, simple]):
        assert bool(value(simple, at)) == bool(value(expr, at)), f"{expr} became {simple} at {at}"


@thorough
@given(integers)
def test_bounds_hold(expr: Expr) -> None:
    simplifier = Simplifier(RANGES)
    low, high = simplifier.bounds(expr)
    for at in points([expr]):
        found = value(expr, at)
        assert low is None or low <= found, f"{expr} is {found} below {low} at {at}"
        assert high is None or found <= high, f"{expr} is {found} above {high} at {at}"


@thorough
@given(integers)
def test_ends_hold(expr: Expr) -> None:
    simplifier = Simplifier(RANGES)
    low, high = simplifier.lower(expr), simplifier.upper(expr)
    if (free_vars(low) | free_vars(high)) & {II, J, K, M}:
        return  # what cannot be eliminated stays, inside a quotient for example
    for at in points([expr, low, high]):
        assert value(low, at) <= value(expr, at) <= value(high, at), f"{expr}: {low} to {high}"


@thorough
@given(integers)
def test_spans_are_exact(expr: Expr) -> None:
    found = Simplifier(RANGES).span(expr, {II, J})
    if found is None:
        return
    low, distance = found
    assert not free_vars(low) & {II, J}
    reached: dict[tuple[int, ...], list[int]] = {}
    for at in points([expr, low]):
        reached.setdefault((at[K], at[M], at[N]), []).append(value(expr, at) - value(low, at))
    for offsets in reached.values():
        assert (min(offsets), max(offsets)) == (0, distance), f"{expr}: {low} and {distance} more"


a, b, c = Var("a"), Var("b"), Var("c")


@pytest.mark.parametrize(
    ("expr", "ranges", "expected"),
    [
        ((a * 8 + b) // 8, {b: 8}, a),
        ((a * 8 + b) % 8, {b: 8}, b),
        ((a * 8 + b) // 4 % 2, {a: 5, b: 4}, const(0)),
        ((a * 4 + b) // 8, {a: 6, b: 4}, a // 2),
        (a // 8 * 8 + a % 8, {}, a),
        (a // 4 // 2, {}, a // 8),
        ((a * c + b) // c, {b: c}, a),
        ((a * c + b) % c, {b: c}, b),
        (a - a, {}, const(0)),
        (a + b - a, {}, b),
        (a % 8, {a: 8}, a),
        (a // 8, {a: 8}, const(0)),
        (a * 2 + a * 3, {}, a * 5),
        (a, {a: 1}, const(0)),
        ((a * N - 1) // N, {}, a - 1),
        ((a * N - N) // N, {}, a - 1),
    ],
    ids=str,
)
def test_tilings_fold(expr: Expr, ranges: dict[Var, Expr | int], expected: Expr) -> None:
    assert simplify(expr, ranges) == expected


def test_symbolic_proofs() -> None:
    simplifier = Simplifier({a: N, b: 8})
    assert simplifier.can_prove(a < N)
    assert simplifier.can_prove(a * 8 + b < N * 8)
    assert not simplifier.can_prove(a * 8 + b < N * 7)
    assert not simplifier.can_prove(a < 1)


def test_a_digit_of_a_fused_loop_ends_with_its_extent() -> None:
    fused = Simplifier({a: b * N})
    assert fused.upper(a // N * 8) == fused(b * 8 - 8)
    assert fused.can_prove(a // N < b)
    assert not fused.can_prove(a // N < b - 1)


def test_product_is_simplified() -> None:
    assert product([2, N, 4]) == simplify(N * 8)
    assert product([]) == Const(1, INT64)
