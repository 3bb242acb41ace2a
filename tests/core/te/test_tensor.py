from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from metasched import te
from metasched.errors import UsageError
from metasched.ir.expr import const


def a() -> te.Tensor:
    return te.placeholder((4, 6), name="a")


def test_indexing() -> None:
    t = a()
    assert str(t[1, te.var("n")]) == "a[1, n]"
    assert str(t(*[1, 2])) == "a[1, 2]"


def test_symbolic_sizes_of_one_name_are_one() -> None:
    assert te.var("n") == te.var("n")
    t = te.placeholder((te.var("n"),), name="t")
    assert t.shape == (te.var("n"),)
    assert str(t[100]) == "t[100]"


def test_tensors_are_compared_by_identity() -> None:
    one, two = a(), a()
    assert one != two
    assert len({one, two}) == 2
    whole = [te.placeholder((4,), "int32", name="w") for _ in range(2)]
    # Equal integer expressions fold, so elements of two tensors must differ.
    assert str(whole[0][0] - whole[1][0]) == "w[0] - w[0]"
    assert str(whole[0][0] - whole[0][0]) == "int32(0)"


def test_a_scalar_shape_and_a_bare_size() -> None:
    assert te.placeholder((), name="s").shape == ()
    assert te.placeholder(3, name="s").shape == (const(3),)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: a()[1], "tensor 'a' has 2 dimensions, got 1 indices"),
        (lambda: a()[1, 2, 3], "has 2 dimensions, got 3 indices"),
        (lambda: a()[-1, 0], "index -1 is outside dimension 0 of tensor 'a' of size 4"),
        (lambda: a()[0, 6], "index 6 is outside dimension 1"),
        (lambda: a()[0, te.const(1.0)], "an index must be an integer"),
        (lambda: a()[0:2, 0], "expected an expression or a number"),
        (lambda: te.placeholder((4, 0)), "dimension 1 of 'placeholder' is 0; sizes must be"),
        (lambda: te.placeholder((4, -2), name="x"), "dimension 1 of 'x' is -2"),
        (lambda: te.placeholder((2.5,)), "an index must be an integer, got float32"),
        (
            lambda: te.placeholder((4,), "flaot32"),
            "unknown dtype 'flaot32'; did you mean 'float32'",
        ),
        (lambda: te.placeholder((4,), "float32x4"), "is a vector; tensors hold scalars"),
        (lambda: te.placeholder((4,), name="a b"), "tensor name 'a b' is no identifier"),
        (lambda: te.placeholder((4,), name="for"), "tensor name 'for' is no identifier"),
        (lambda: te.placeholder((4,), name="größe"), "is no identifier"),
        (lambda: te.var("2n"), "size '2n' is no identifier"),
        (lambda: te.compute((4, 4), lambda i: 0.0, name="c"), "takes 1 arguments, but its shape"),
        (lambda: te.compute((4,), lambda i, j: 0.0, name="c"), "takes 2 arguments, but its shape"),
        (lambda: te.compute((4,), lambda i: None, name="c"), "expected an expression or a number"),
        (lambda: te.compute((4,), lambda i: i if i < 2 else 0, name="c"), "no truth value"),
    ],
)
def test_refusals(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()
