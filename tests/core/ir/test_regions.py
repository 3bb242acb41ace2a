from __future__ import annotations

from metasched.ir.dtype import FLOAT32
from metasched.ir.expr import Buffer, Var, const, int_value
from metasched.ir.regions import covers, element, element_regions, full, hull, leaves, misses
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import IterVar, Region
from metasched.ir.walk import substitute

I, J, N = Var("i"), Var("j"), Var("n")  # noqa: E741
A = Buffer("a", (const(8), N), FLOAT32)


def box(*ranges: tuple[object, object]) -> Region:
    lift = lambda e: e if isinstance(e, Var) or not isinstance(e, int) else const(e)  # noqa: E731
    return Region(A, tuple((lift(low), lift(extent)) for low, extent in ranges))  # type: ignore[misc]


def test_hull_joins_dimensions() -> None:
    one, other = element((A, (I, J))), element((A, (I + 2, J)))
    assert hull(one, other) == box((I, 3), (J, 1))
    assert hull(one, one) is one
    low, extent = hull(one, element((A, (J, J)))).ranges[0]
    assert str(low) == "min(i, j)"
    for i, j in ((2, 5), (5, 2), (3, 3)):
        values = {I: const(i), J: const(j)}
        assert substitute(low, values) == const(min(i, j))
        assert substitute(extent, values) == const(abs(i - j) + 1)


def test_element_regions_keep_the_order_of_access() -> None:
    b = Buffer("b", (const(4),), FLOAT32)
    found = element_regions([(b, (I,)), (A, (I, J)), (b, (I + 1,))])
    assert [r.buffer for r in found] == [b, A]
    assert found[0].ranges == ((I, const(2)),)


def test_covers() -> None:
    simplify = Simplifier({I: 4, J: N})
    whole = full(A)
    assert covers(whole, element((A, (I, J))), simplify)
    assert covers(whole, element((A, (I * 2 + 1, J))), simplify)
    assert not covers(whole, element((A, (I * 3, J))), simplify)
    assert not covers(whole, element((A, (I, J + 1))), simplify)
    assert not covers(element((A, (I, J))), whole, simplify)


def test_leaves_is_certain_or_silent() -> None:
    simplify = Simplifier({I: 4, J: N})
    assert leaves(I, const(3), simplify)
    assert leaves(I - 1, const(4), simplify)
    assert leaves(I * 2 + 1, const(7), simplify)
    assert not leaves(I * 2 + 1, const(8), simplify)
    assert not leaves(J, const(8), simplify)
    assert not leaves(I // 2 * 2 - I, const(8), simplify)
    assert misses(box((I, 2), (0, N)), (I + 2, J), simplify)
    assert not misses(box((I, 2), (0, N)), (I + 1, J), simplify)


def test_iteration_variables_may_be_zero() -> None:
    b = Buffer("b", (const(8),), FLOAT32)
    (found,) = element_regions([(b, (I,)), (b, (2 - I,))], [IterVar(I, const(3), "spatial", J)])
    for value in range(3):
        ((low, extent),) = ((substitute(e, {I: const(value)}) for e in p) for p in found.ranges)
        assert (int_value(low), int_value(extent)) == (
            min(value, 2 - value),
            abs(2 - 2 * value) + 1,
        )
