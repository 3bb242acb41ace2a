from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metasched.errors import UsageError
from metasched.ir.expr import Expr, Var, const, int_value
from metasched.ir.simplify import Simplifier, simplify
from metasched.ir.walk import substitute
from metasched.schedule.index_map import IndexMap

INVERTIBLE: list[tuple[str, list[int]]] = [
    ("i -> [i]", [1]),
    ("i, j -> [j, i]", [3, 5]),
    ("i -> [i // 4, i % 4]", [16]),
    ("i -> [i // 4, i % 4]", [14]),
    ("i -> [i // 4, i % 4]", [3]),
    ("i -> [i // 4, i % 4]", [1]),
    ("i -> [(i + 3) // 4, (i + 3) % 4]", [14]),
    ("i -> [i * 2 + 1]", [5]),
    ("i -> [6 - i]", [7]),
    ("i -> [(6 - i) // 3, (6 - i) % 3]", [7]),
    ("i -> [i, i]", [3]),
    ("i -> [0, i, 2]", [3]),
    ("i, j -> [i * 5 + j]", [3, 5]),
    ("i, j -> [i, j]", [3, 1]),
    ("i, j -> [(i * 6 + j) // 4, (i * 6 + j) % 4]", [3, 6]),
    ("i, j -> [(i * 6 + j) // 5 // 2, (i * 6 + j) // 5 % 2, (i * 6 + j) % 5]", [3, 6]),
    ("i, j -> [i * 2 + j // 7, j % 7]", [3, 13]),
    ("i -> [i // 4 % 2, i % 4, i // 8]", [17]),
    ("i -> [i % 6 // 4, i % 6 % 4, i // 6]", [14]),
    ("i -> [i * 2 // 4, i * 2 % 4]", [7]),
    ("n, c, h, w -> [n, c // 4, h, w, c % 4]", [2, 7, 3, 1]),
    ("-> [0]", []),
]


def values(index_map: IndexMap, at: tuple[int, ...]) -> tuple[int, ...]:
    found = index_map.map_indices([const(k) for k in at], simplify)
    return tuple(n for e in found if (n := int_value(e)) is not None)


def check_inverse(index_map: IndexMap, shape: list[int]) -> None:
    """Against all indices of both shapes, one by one."""
    images = {values(index_map, at): at for at in product(*map(range, shape))}
    new = [int_value(n) or 0 for n in index_map.map_shape(shape)]
    assert all(k < n for image in images for k, n in zip(image, new, strict=True))
    inverse, padding = index_map.non_surjective_inverse(shape)
    for at in product(*map(range, new)):
        point: dict[Var, Expr] = {v: const(k) for v, k in zip(inverse.inputs, at, strict=True)}
        is_padding = bool(int_value(simplify(substitute(padding, point))))
        assert is_padding == (at not in images), f"at {at} of {index_map}, {padding}"
        if not is_padding:
            assert values(inverse, at) == images[at]


@pytest.mark.parametrize(("text", "shape"), INVERTIBLE)
def test_inverse_and_padding_at_every_index(text: str, shape: list[int]) -> None:
    check_inverse(IndexMap.parse(text), shape)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[IndexMap, list[int]]:
    """Dimensions split, fused and permuted in turn, as users compose layouts."""
    shape = draw(st.lists(st.integers(1, 7), min_size=1, max_size=3))
    inputs = tuple(Var(f"i{k}") for k in range(len(shape)))
    axes: list[tuple[Expr, int]] = list(zip(inputs, shape, strict=True))
    for _ in range(draw(st.integers(0, 4))):
        k = draw(st.integers(0, len(axes) - 1))
        index, extent = axes.pop(k)
        match draw(st.sampled_from(["split", "fuse", "move"])):
            case "split":
                factor = draw(st.integers(1, 5))
                axes[k:k] = [(index // factor, -(-extent // factor)), (index % factor, factor)]
            case "fuse" if axes:
                other, size = axes.pop(draw(st.integers(0, len(axes) - 1)))
                axes.append((index * size + other, extent * size))
            case _:
                axes.insert(draw(st.integers(0, len(axes))), (index, extent))
    # Offsets come last: one that is split or fused on makes carries, which have no inverse here.
    offsets = [draw(st.integers(0, 3)) for _ in axes]
    shifted = (index + by for (index, _), by in zip(axes, offsets, strict=True))
    return IndexMap(inputs, tuple(shifted)), shape


@given(layouts())
def test_any_composed_layout_has_its_inverse(drawn: tuple[IndexMap, list[int]]) -> None:
    index_map, shape = drawn
    if np.prod([int_value(n) or 0 for n in index_map.map_shape(shape)]) <= 500:
        check_inverse(index_map, shape)


@given(layouts())
def test_the_text_reads_back(drawn: tuple[IndexMap, list[int]]) -> None:
    assert IndexMap.parse(str(drawn[0])) == drawn[0]


def tiles_of_4(i: Expr, j: Expr) -> list[Expr]:
    return [i // 4, j, i % 4]


def backwards(*i: Expr) -> list[Expr | int]:
    return [0, *reversed(i)]


def last_first(n: Expr, *i: Expr) -> tuple[Expr, ...]:
    return (*i, n)


def same(i: Expr) -> Expr:
    return i


def with_separator(i: Expr) -> list[Expr | str]:
    return [i, "sep"]


def by_keyword(*, i: Expr) -> list[Expr]:
    return [i]


def branching(i: Expr) -> list[Expr | int]:
    return [i if i < 3 else 0]


def test_the_text_of_a_function() -> None:
    assert str(IndexMap.of(tiles_of_4)) == "i, j -> [i // 4, j, i % 4]"
    assert str(IndexMap.of(same)) == "i -> [i]"
    assert str(IndexMap.of(backwards, 3)) == "i0, i1, i2 -> [0, i2, i1, i0]"
    assert str(IndexMap.of(last_first, 2)) == "n, i1 -> [i1, n]"


def test_a_text_and_a_function_give_equal_maps() -> None:
    assert IndexMap.of("i,j->[i//(2+2), j*1+0, i%4]") == IndexMap.of(tiles_of_4)


def test_symbolic_sizes() -> None:
    n = Var("n")
    tiles = IndexMap.parse("i, j -> [j // 8, i, j % 8]")
    assert [str(e) for e in tiles.map_shape([3, n])] == ["(n + 7) // 8", "3", "8"]
    inverse, padding = tiles.non_surjective_inverse([3, n])
    assert str(inverse) == "ax0, ax1, ax2 -> [ax1, ax0 * 8 + ax2]"
    assert str(padding) == "n <= ax0 * 8 + ax2"
    flat = IndexMap.parse("i, j -> [j, i]").inverse([n, 4])
    assert str(flat) == "ax0, ax1 -> [ax1, ax0]"


def test_inverse_of_a_bijection() -> None:
    fused = IndexMap.parse("i, j -> [i * 8 + j]")
    assert str(fused.inverse([4, 8])) == "ax0 -> [ax0 // 8, ax0 % 8]"


def test_indices_are_simplified_as_the_caller_knows() -> None:
    i, j = Var("i"), Var("j")
    tiles = IndexMap.parse("a -> [a // 4, a % 4]")
    known = Simplifier({i: 3, j: 4})
    assert tiles.map_indices([i * 4 + j], known) == (i, j)


def test_narrow_indices_keep_their_dtype() -> None:
    index = Var("i", const(0, "int32").dtype)
    assert (
        str(IndexMap.parse("a -> [a // 4 + 1]").map_indices([index])[0])
        == "i // int32(4) + int32(1)"
    )


def test_equivalence_does_not_see_names() -> None:
    assert IndexMap.of("i, j -> [j, i]").is_equivalent_to(IndexMap.of("a, b -> [b, a]"))
    assert not IndexMap.of("i, j -> [j, i]").is_equivalent_to(IndexMap.of("a, b -> [a, b]"))
    assert not IndexMap.of("i -> [i]").is_equivalent_to(IndexMap.of("a, b -> [a]"))


def test_arrays_go_there_and_back() -> None:
    array = np.arange(21, dtype=np.float32).reshape(3, 7)
    tiles = IndexMap.parse("i, j -> [j // 4, i, j % 4]")
    packed = tiles.map_array(array, pad_value=-1)
    assert packed.shape == (2, 3, 4)
    assert packed[1, 2].tolist() == [18, 19, 20, -1]
    assert (tiles.unmap_array(packed, (3, 7)) == array).all()
    with pytest.raises(UsageError, match=r"to \(2, 3, 4\), got an array of \(3, 7\)"):
        tiles.unmap_array(array, (3, 7))


@pytest.mark.parametrize(
    ("given_map", "message"),
    [
        ("i, j", "'i, j' is no index map; write it as"),
        ("i -> i", "'i -> i' is no index map; write it as"),
        ("i -> [i", "is no index map: '\\[' was never closed"),
        ("1 -> [0]", "is no index map; write it as"),
        ("i -> [a[i]]", "is no index map: buffer 'a' is not declared"),
        ("i -> [i // 0]", "is no index map: division of i by zero"),
        ("i -> [" + "(" * 250 + "i" + ")" * 250 + "]", "is no index map"),
        ("i -> [" + "i + " * 300 + "i]", "nested more than"),
        ("i -> [k]", "has no index 'k'; known: i"),
        ("i, i -> [i]", "distinct indices, got 'i', 'i'"),
        ("i -> [cast(i, 'float32')]", "gives integer indices, got .*; axis separators are refused"),
        ("i -> [if_then_else(i < 2, i, 0)]", "computes with \\+, -, \\*, //, %, min and max, got"),
        (with_separator, "gives integer indices, got 'sep'; axis separators are refused"),
        (by_keyword, "plain positional parameters, got 'i'"),
        (backwards, "needs to know its number of indices"),
        (branching, "no truth value"),
        (7, "a text such as 'i, j -> \\[j, i\\]' or a function, got 7"),
    ],
)  # fmt: skip
def test_what_is_no_map_is_refused(given_map: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        IndexMap.of(given_map)


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        ("i, j -> [i + j]", [3, 4], "has no inverse: the indices that add up to ax0 overlap"),
        ("i, j -> [i]", [3, 4], "has no inverse: 'j' does not follow"),
        ("i -> [i % 4]", [8], "has no inverse: 'i' does not follow"),
        ("i -> [i // 4]", [8], "has no inverse: 'i' does not follow"),
        ("i -> [min(i, 3)]", [7], r"min\(i, 3\) is no sum of digits"),
        ("i, j -> [i * j]", [3, 4], "scales an index by an index"),
        ("i -> [i // -2]", [4], "a division by -2, which may be below 1"),
        ("i -> [(i - 2) // 2, (i - 2) % 2]", [4], "may be negative: it starts at -1"),
        ("i, j, k -> [i * 6 + j * 4 + k]", [2, 1, 4], None),
        ("i, j, k -> [i * 10 + j * 4 + k]", [2, 2, 4], "do not nest"),
    ],
)
def test_what_cannot_be_undone_is_refused(text: str, shape: list[int], message: str | None) -> None:
    index_map = IndexMap.parse(text)
    if message is None:
        check_inverse(index_map, shape)
        return
    with pytest.raises(UsageError, match=message):
        index_map.non_surjective_inverse(shape)


def test_padding_is_no_bijection() -> None:
    with pytest.raises(UsageError, match=r"not bijective on the shape \(6\).*where 6 <= ax0"):
        IndexMap.parse("i -> [i // 4, i % 4]").inverse([6])


def test_shapes_that_are_not_known() -> None:
    with pytest.raises(UsageError, match="may be negative: it starts at -2"):
        IndexMap.parse("i -> [i - 2]").map_shape([4])
    with pytest.raises(UsageError, match="has no bound that is known"):
        IndexMap.parse("i -> [i * i]").map_shape([Var("n")])
    assert [str(e) for e in IndexMap.parse("i -> [min(i, 3)]").map_shape([7])] == ["4"]


def test_the_rank_must_fit() -> None:
    with pytest.raises(UsageError, match="takes 1 indices, got 2"):
        IndexMap.parse("i -> [i]").map_shape([2, 3])
    with pytest.raises(UsageError, match="takes 1 indices, got 0"):
        IndexMap.parse("i -> [i]").map_indices([])
