from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metasched import ops, te
from metasched.ir.canonical import as_asked, canonical, canonical_hash
from metasched.ir.parser import parse
from metasched.ir.reference import evaluate
from metasched.ir.stmt import Program


def affine(
    *,
    names: str = "abc",
    swap: bool = False,
    turn: bool = False,
    scale: float = 2.0,
    one: bool = False,
    shifted: bool = False,
    dtype: str = "float32",
    transposed: bool = False,
) -> Program:
    """``c = (a * b.sum) * scale + a`` in many spellings."""
    x, y, z = names
    a = te.placeholder((6, 10), dtype, name=x)
    b = te.placeholder((10, 6) if transposed else (6, 10), dtype, name=y)
    c = te.compute(
        (6, 10),
        lambda i, j: _value(
            a[i, j],
            (b[j, i] if transposed else b[i, (j * 2 - j) if shifted else j]),
            swap,
            scale,
            one,
        ),
        name=z,
    )
    return te.program([b, a, c] if turn else [a, b, c], name=f"p{x}")


def _value(a: Any, b: Any, swap: bool, scale: float, one: bool) -> Any:
    product = b * a if swap else a * b
    scaled = scale * product if swap else product * scale
    total = a + scaled if swap else scaled + a
    return total * 1.0 if one else total


BASE = canonical_hash(affine())


@pytest.mark.parametrize(
    "change",
    [
        {"names": "xyz"},
        {"names": "zxy"},
        {"swap": True},
        {"turn": True},
        {"one": True},
        {"shifted": True},
        {"names": "cab", "swap": True, "turn": True, "one": True, "shifted": True},
    ],
    ids=str,
)
def test_spelling_does_not_matter(change: dict[str, Any]) -> None:
    assert canonical_hash(affine(**change)) == BASE


@pytest.mark.parametrize(
    "change",
    [{"scale": 2.5}, {"scale": -2.0}, {"dtype": "float64"}, {"transposed": True}],
    ids=str,
)
def test_meaning_matters(change: dict[str, Any]) -> None:
    assert canonical_hash(affine(**change)) != BASE


def subtract(turn: bool) -> Program:
    a = te.placeholder((4,), name="a")
    b = te.placeholder((4,), name="b")
    c = te.compute((4,), lambda i: a[i] - b[i], name="c")
    return te.program([b, a, c] if turn else [a, b, c])


def test_operands_that_do_not_commute_keep_their_places() -> None:
    assert canonical_hash(subtract(False)) == canonical_hash(subtract(True))
    assert canonical(subtract(True)).order == (1, 0, 2)


def test_sizes_count() -> None:
    assert canonical_hash(ops.matmul(m=8, n=8, k=8)) != canonical_hash(ops.matmul(m=8, n=8, k=16))


def symbolic(shared: bool) -> Program:
    m, n = te.var("m"), te.var("n")
    a = te.placeholder((m, m if shared else n), name="a")
    b = te.compute(a.shape, lambda i, j: a[i, j] + 1.0, name="b")
    return te.program([a, b])


def test_sizes_that_are_the_same_count() -> None:
    assert canonical_hash(symbolic(True)) != canonical_hash(symbolic(False))
    assert canonical_hash(symbolic(True)) == canonical_hash(parse(str(symbolic(True))))


@pytest.mark.parametrize("name", ["matmul", "softmax", "norm", "conv2d", "dense"])
def test_the_form_computes_the_same(name: str) -> None:
    shapes: dict[str, dict[str, Any]] = {
        "matmul": {"m": 3, "n": 4, "k": 5},
        "softmax": {"m": 3, "n": 4},
        "norm": {"m": 3, "n": 4},
        "conv2d": {"h": 5, "w": 5, "ci": 2, "co": 3, "k": 3, "p": 1},
        "dense": {"m": 3, "n": 4, "k": 5, "bias": True, "activation": "gelu"},
    }
    program = ops.get(name)(**shapes[name])
    assert isinstance(program, Program)
    form = canonical(program)
    inputs = _random(program)
    renamed = {
        form.program.params[place].name: inputs[program.params[index].name]
        for place, index in enumerate(form.order)
        if program.params[index].name in inputs
    }
    given, got = evaluate(program, inputs), evaluate(form.program, renamed)
    for place, index in enumerate(form.order):
        if program.params[index] in program.outputs:
            mine = given[program.params[index].name]
            np.testing.assert_allclose(got[form.program.params[place].name], mine, rtol=1e-6)


def test_parameters_in_the_order_that_is_asked_for() -> None:
    original, asked = affine(swap=True), affine(names="xyz", turn=True)
    turned = as_asked(original, original, asked)
    assert [p.name for p in turned.params] == ["b", "a", "c"]
    inputs = _random(asked)
    by_place = dict(zip((p.name for p in turned.params), inputs.values(), strict=False))
    given, got = evaluate(asked, inputs), evaluate(turned, by_place)
    np.testing.assert_array_equal(got["c"], given["z"])


def _random(program: Program) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    shapes = {p.name: tuple(int(str(n)) for n in p.shape) for p in program.inputs}
    return {name: rng.random(shape).astype(np.float32) for name, shape in shapes.items()}
