from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metasched.analysis.facts import Facts
from metasched.analysis.region import makes_all, whole_box
from metasched.ir.dtype import INT64
from metasched.ir.expr import Buffer, Expr, Var, const, int_value, maximum, minimum
from metasched.ir.simplify import simplify
from metasched.ir.stmt import Block, Program
from metasched.ir.walk import blocks, substitute
from tests.core.schedule.primitives.stages import part_made, window

X, Y, Z = Var("i"), Var("j"), Var("k")
T, U = Var("t"), Var("u")


def block(program: Program, name: str) -> Block:
    return next(b for b in blocks(program.root) if b.name == name)


def relaxed(expr: Expr, *inner: Var, **extents: int) -> tuple[str, str] | None:
    known = Facts({Var(name): const(size) for name, size in extents.items()})
    found = known.relax(expr, inner)
    return found and (str(found[0]), str(found[1]))


def test_a_tile() -> None:
    assert relaxed(X * 8 + Y, Y, i=4, j=8) == ("i * 8", "8")


def test_a_tile_of_a_strided_window() -> None:
    assert relaxed((X * 4 + Y) * 2 + Z, Y, Z, i=3, j=4, k=3) == ("i * 8", "9")


def test_a_falling_index() -> None:
    assert relaxed(X * 4 - Y + 3, Y, i=3, j=4) == ("i * 4", "4")


def test_quotients_and_remainders() -> None:
    assert relaxed((X * 8 + Y) // 8, Y, i=4, j=8) == ("i", "1")
    assert relaxed((X * 8 + Y) // 4, Y, i=4, j=8) == ("i * 2", "2")
    assert relaxed((X * 6 + Y) // 4, Y, i=4, j=6) == ("i * 3 // 2", "3")
    assert relaxed((X + Y) % 4, Y, i=4, j=2) == ("0", "4")
    assert relaxed((X * 4 + Y) % 8, Y, i=4, j=4) == ("i % 2 * 4", "4")


def test_minima_and_maxima() -> None:
    assert relaxed(minimum(X * 8 + Y, 20), Y, i=4, j=8) == ("min(i * 8, 20)", "8")
    assert relaxed(maximum(X * 8 + Y, 3), Y, i=4, j=8) == ("max(i * 8, 3)", "8")


def test_a_data_dependent_index_has_no_range() -> None:
    table = Buffer("table", (const(4),), INT64)
    assert relaxed(table[Y] + X, Y, i=4, j=4) is None
    assert relaxed(table[X] + Y, Y, i=4, j=4) == ("table[i]", "4")


def test_symbolic_tiles() -> None:
    known = Facts({X: T, Y: U, Z: const(3)}, [((T, U), const(16))])
    assert [str(e) for e in known.relax((X * U + Y) * 2 + Z, (Y, Z)) or ()] == [
        "i * u * 2",
        "u * 2 + 1",
    ]
    assert [str(e) for e in known.relax(X * U + Y, (X, Y)) or ()] == ["0", "16"]


def test_proofs_about_tiles() -> None:
    known = Facts({X: T, Y: U}, [((T, U), const(16))])
    assert known.nonneg(16 - (X * U + Y) - 1)
    assert not known.nonneg(15 - (X * U + Y) - 1)
    assert known.nonneg(16 - U)
    assert known.nonneg(33 - ((U - 1) * 2 + 3))
    assert not known.nonneg(32 - ((U - 1) * 2 + 3))
    assert known.within((X * U, U), (X * U, U))
    assert known.within((X * U, U), (const(0), const(16)))
    assert not known.within((X * U + 1, U), (const(0), const(16)))


def test_a_variable_of_an_outer_loop_may_be_zero() -> None:
    known = Facts({X: T})
    assert known.nonneg(X)
    assert not known.nonneg(X - 1)


@pytest.mark.parametrize(
    ("index", "inner", "dense"),
    [
        (X * 8 + Y, (Y,), True),
        (X * 8 + Y, (X, Y), True),
        (X * 8 + Y, (X,), False),
        (X * 4 + Y, (X, Y), False),
        (X + Y, (X, Y), False),
        (Y - X, (X, Y), False),
        (X * Y, (X, Y), False),
    ],
)
def test_dense_indices(index: Expr, inner: tuple[Var, ...], dense: bool) -> None:
    known = Facts({X: const(4), Y: const(8), Z: const(2)})
    assert known.is_dense([index], inner) is dense


def test_dimensions_must_not_share_a_loop() -> None:
    known = Facts({X: const(4), Y: const(8)})
    assert known.is_dense([X, Y], (X, Y))
    assert not known.is_dense([X, X], (X,))
    assert not known.is_one_to_one([X], (X, Y))


def test_fused_loops_are_one_to_one() -> None:
    known = Facts({X: const(24), Y: const(4)})
    assert known.is_one_to_one([X // 6, X // 2 % 3, X % 2], (X,))
    assert known.is_one_to_one([X // 6 % 4, X % 6], (X,))
    assert not known.is_one_to_one([X // 6, X % 3], (X,))
    assert not known.is_one_to_one([X // 6 % 3, X % 6], (X,))
    assert known.is_one_to_one([(X * 4 + Y) // 6, (X * 4 + Y) % 6], (X, Y))


def test_boxes_are_joined_at_fixed_distances() -> None:
    known = Facts({X: const(4)})
    joined = known.join((X * 8, const(8)), (X * 8 + 2, const(8)))
    assert joined is not None
    assert [str(e) for e in joined] == ["i * 8", "10"]
    assert known.join((X, const(8)), (const(0), const(8))) is None
    assert known.join(None, (X, const(8))) is None


def test_all_that_a_block_touches() -> None:
    program = window(10, 3, 2)
    reader = block(program, "c")
    assert [str(e) for e in whole_box(reader, reader.reads[0], {})[0]] == ["0", "11"]
    padded = block(program, "p")
    assert [str(e) for e in whole_box(padded, padded.reads[0], {})[0]] == ["0", "10"]


def test_whether_a_producer_makes_all_that_is_read() -> None:
    program = window(10, 3, 2)
    made, used = block(program, "p"), block(program, "c")
    assert makes_all(made, made.writes[0], used, used.reads[0])
    program = part_made()
    made, used = block(program, "b"), block(program, "c")
    assert not makes_all(made, made.writes[0], used, used.reads[0])


coefficients = st.integers(-3, 4)


@settings(max_examples=150, deadline=None)
@given(
    terms=st.tuples(coefficients, coefficients, coefficients, st.integers(-2, 9)),
    extents=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    shape=st.sampled_from(["plain", "div", "mod", "min", "product"]),
    size=st.integers(1, 6),
)
def test_ranges_hold_every_value(
    terms: tuple[int, int, int, int], extents: tuple[int, int, int], shape: str, size: int
) -> None:
    linear = X * terms[0] + Y * terms[1] + Z * terms[2] + terms[3]
    made = {
        "plain": linear,
        "div": linear // size,
        "mod": linear % size,
        "min": minimum(linear, X + size),
        "product": (X * size + Y) * (Y + Z),
    }
    expr = made[shape]
    known = Facts({v: const(e) for v, e in zip((X, Y, Z), extents, strict=True)})
    found = known.relax(expr, (Y, Z))
    if shape == "product":
        assert found is None or 1 in extents[1:]
    if found is None:
        assert shape == "product"
        return
    dense = known.is_dense([expr], (Y, Z))
    for i in range(extents[0]):
        inner = itertools.product(range(extents[1]), range(extents[2]))
        values = {value(expr, i, j, k) for j, k in inner}
        low, extent = value(found[0], i), value(found[1], i)
        assert min(values) >= low
        assert max(values) < low + extent
        if dense:
            assert values == set(range(low, low + extent))


def value(expr: Expr, *at: int) -> int:
    given = {v: const(x) for v, x in zip((X, Y, Z), at, strict=False)}
    number = int_value(simplify(substitute(expr, given)))
    assert number is not None
    return number
