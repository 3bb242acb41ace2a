from __future__ import annotations

import pytest

from metasched import ops, te
from metasched.database.equality import Equality, key_of, loose_keys
from metasched.ir.loose import anchor
from metasched.ir.stmt import Program


def scaled(scale: float, offset: int = 1, n: int = 16) -> Program:
    a = te.placeholder((n,), "float32", name="a")
    b = te.placeholder((n,), "int32", name="b")
    c = te.compute((n,), lambda i: a[i] * scale, name="c")
    d = te.compute((n,), lambda i: b[i] + offset, name="d")
    return te.program([a, b, c, d], name="scaled")


@pytest.mark.parametrize("other", [scaled(3.0), scaled(2.0, offset=5)], ids=["float", "int"])
def test_constants_do_not_count(other: Program) -> None:
    base = scaled(2.0)
    assert key_of(base, Equality.STRUCTURAL) != key_of(other, Equality.STRUCTURAL)
    assert key_of(base, Equality.IGNORE_CONSTANTS) == key_of(other, Equality.IGNORE_CONSTANTS)


def test_extents_and_indices_count() -> None:
    sizes = {key_of(scaled(2.0, n=n), Equality.IGNORE_CONSTANTS) for n in (16, 32)}
    assert len(sizes) == 2

    def shifted(by: int) -> Program:
        a = te.placeholder((8,), name="a")
        b = te.compute((4,), lambda i: a[i + by], name="b")
        return te.program([a, b])

    assert len({key_of(shifted(by), Equality.IGNORE_CONSTANTS) for by in (0, 1)}) == 2


def test_what_surrounds_the_anchor_does_not_count() -> None:
    plain = ops.matmul(m=8, n=16, k=32)
    with_bias = ops.dense(m=8, n=16, k=32, bias=True, activation="relu")
    assert key_of(plain, Equality.ANCHOR_BLOCK) == key_of(with_bias, Equality.ANCHOR_BLOCK)
    assert key_of(plain, Equality.IGNORE_CONSTANTS) != key_of(with_bias, Equality.IGNORE_CONSTANTS)
    larger = ops.matmul(m=8, n=16, k=64)
    assert key_of(plain, Equality.ANCHOR_BLOCK) != key_of(larger, Equality.ANCHOR_BLOCK)


def test_a_program_without_reduction_has_no_anchor() -> None:
    assert anchor(scaled(1.0)) is None
    keys = loose_keys(str(scaled(1.0)))
    assert list(keys) == [Equality.IGNORE_CONSTANTS, Equality.ANY_SHAPE]


def test_text_that_is_no_program_has_no_keys() -> None:
    assert loose_keys("def matmul(a, b, c):\n    pass") == {}


def test_sizes_do_not_count_under_any_shape() -> None:
    base = key_of(ops.matmul(m=8, n=16, k=32), Equality.ANY_SHAPE)
    assert base == key_of(ops.matmul(m=100, n=7, k=3), Equality.ANY_SHAPE)
    assert base != key_of(ops.matmul(m=1, n=16, k=32), Equality.ANY_SHAPE)  # a loop of one
    assert base != key_of(ops.matmul(m=8, n=16, k=32, dtype="float64"), Equality.ANY_SHAPE)
    assert base != key_of(ops.batch_matmul(b=2, m=8, n=16, k=32), Equality.ANY_SHAPE)
