"""Counting group by group finds what counting all combinations does."""

from __future__ import annotations

from itertools import product

import pytest

from metasched.ir.expr import Expr, Var, const
from metasched.lower.gpu.touched import Touched, Uncountable, count_out, value_of

X, Y, M, N, K = (Var(name) for name in "xymnk")
EXTENTS = {X: 8, Y: 3, M: 4, N: 5}
STRIDES = {X: 1, Y: 8}
KNOWN = {K: 3}


def one_by_one(index: Expr, conditions: tuple[Expr, ...]) -> dict[int, tuple[int, int]]:
    """The lowest and the highest thread of each element."""
    found: dict[int, set[int]] = {}
    for numbers in product(*(range(extent) for extent in EXTENTS.values())):
        values = {**dict(zip(EXTENTS, numbers, strict=True)), **KNOWN}
        if all(value_of(c, values) for c in conditions):
            thread = values[X] + 8 * values[Y]
            found.setdefault(int(value_of(index, values)), set()).add(thread)
    return {element: (min(threads), max(threads)) for element, threads in found.items()}


def as_dict(touched: Touched) -> dict[int, tuple[int, int]]:
    rows = zip(touched.elements.tolist(), touched.low.tolist(), touched.high.tolist(), strict=True)
    return {element: (low, high) for element, low, high in rows}


@pytest.mark.parametrize(
    ("index", "conditions"),
    [
        (const(7), ()),
        (X * 4 + M, ()),
        (Y * 40 + M * 10 + N, ()),
        (M * 3 + N * 2 - 30, ()),
        (X // 4 * 16 + X % 4 + N, (X < 6,)),
        ((X + Y * 8) // 6 + M * N, (M < N, Y < 2)),
        (X + M * K, (const(1) + Y < K,)),
        (X * M + N, (X < M + K,)),
        (X + N, (K < 3,)),
    ],
)
def test_groups_come_to_the_same(index: Expr, conditions: tuple[Expr, ...]) -> None:
    found = as_dict(count_out(index, conditions, EXTENTS, STRIDES, KNOWN))
    assert found == one_by_one(index, conditions)
    assert list(found) == sorted(found)


def test_an_unknown_variable_is_uncountable() -> None:
    with pytest.raises(Uncountable):
        count_out(X + Var("unknown"), (), EXTENTS, STRIDES, KNOWN)
