from __future__ import annotations

from metasched.ir.expr import Var, const
from metasched.lower.affine import coefficient, has_load, int_coefficient, split_offset, with_offset

X, J, N = Var("i"), Var("j"), Var("n")


def test_coefficients_of_sums() -> None:
    index = X * 64 - J * 3 + N * 5
    assert int_coefficient(index, X) == 64
    assert int_coefficient(index, J) == -3
    assert coefficient(X * N + J, X) == N
    assert int_coefficient(index, Var("other")) == 0


def test_quotients_and_products_of_the_variable_are_not_linear() -> None:
    assert coefficient(X // 2, X) is None
    assert coefficient(X * X, X) is None
    assert int_coefficient((J // 2) * 3 + X, X) == 1


def test_offsets_stay_one_constant_at_the_end() -> None:
    moved = with_offset(with_offset(X * 8 + 3, 5), -10)
    assert split_offset(moved) == (X * 8, -2)
    assert with_offset(const(3), 4) == const(7)


def test_constants_do_not_load() -> None:
    assert not has_load(X * 8 + 3)
