from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from metasched import ops, te
from metasched.errors import UsageError
from metasched.ir import reference_math
from metasched.ir.dtype import DType
from metasched.ir.parser import parse
from metasched.ir.reference import evaluate

TILED = """\
@program
def matmul(a: Buffer((5, 6), "float32"), b: Buffer((6, 7), "float32"), c: Buffer((5, 7), "float32")):
    c_local = alloc((5, 7), "float32", scope="local")
    for i0 in parallel(2):
        for j in vectorized(7):
            for k0 in serial(2):
                for i1 in unrolled(4):
                    for k1 in serial(4):
                        with block("c"):
                            vi = spatial(5, i0 * 4 + i1)
                            vj = spatial(7, j)
                            vk = reduce(6, k0 * 4 + k1)
                            where(i0 * 4 + i1 < 5 and k0 * 4 + k1 < 6)
                            reads(a[vi, vk], b[vk, vj])
                            writes(c_local[vi, vj])
                            with init():
                                c_local[vi, vj] = float32(0.0)
                            c_local[vi, vj] = c_local[vi, vj] + a[vi, vk] * b[vk, vj]
    for i in serial(5):
        for j2 in serial(7):
            with block("c_copy"):
                wi = spatial(5, i)
                wj = spatial(7, j2)
                reads(c_local[wi, wj])
                writes(c[wi, wj])
                c[wi, wj] = c_local[wi, wj]"""  # noqa: E501

VECTORS = """\
@program
def f(a: Buffer((8,), "float32"), b: Buffer((8,), "float32")):
    acc = declare((1,), "float32x4", scope="register")
    for i in serial(2):
        acc[0] = a[ramp(i * 4, 1, 4)] * broadcast(a[0], 4) + float32x4(1.0)
        if i == 1:
            acc[0] = acc[0] * float32x4(2.0)
        b[ramp(4 - i * 4, 1, 4)] = acc[0]"""


def test_scheduled_program() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((5, 6)), rng.random((6, 7))
    np.testing.assert_allclose(evaluate(parse(TILED), {"a": a, "b": b})["c"], a @ b, rtol=1e-14)


def test_lowered_vectors() -> None:
    a = np.arange(8.0) + 2
    found = evaluate(parse(VECTORS), {"a": a})["b"]
    assert found.tolist() == [*((a[4:] * 2 + 1) * 2), *(a[:4] * 2 + 1)]


def test_many_loops() -> None:
    loops = [f"{'    ' * (d + 1)}for i{d} in serial(1 + {int(d > 20)}):" for d in range(24)]
    body = "    " * 25 + "a[i21 * 4 + i22 * 2 + i23] = a[i21 * 4 + i22 * 2 + i23] + float32(1.0)"
    text = '@program\ndef f(a: Buffer((8,), "float32")):\n' + "\n".join([*loops, body])
    assert evaluate(parse(text), {"a": np.zeros(8)})["a"].tolist() == [1.0] * 8


def test_sizes_come_from_shapes() -> None:
    n = te.var("n")
    a = te.placeholder((n, 2), name="a")
    b = te.compute((n,), lambda i: a[i, 0] * a[i, 1], name="b")
    found = evaluate(te.program([a, b]), {"a": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])})
    assert found["b"].tolist() == [2.0, 12.0, 30.0]


def test_sizes_that_no_shape_gives() -> None:
    text = TILED.replace("unrolled(4)", "unrolled(t)").replace("i0 * 4", "i0 * t")
    program = parse(text.replace("parallel(2)", "parallel((5 + t - 1) // t)"))
    a, b = np.ones((5, 6)), np.ones((6, 7))
    for t in (1, 2, 3, 7):
        found = evaluate(program, {"a": a, "b": b}, sizes={"t": t})["c"]
        assert (found == 6).all()
    with pytest.raises(UsageError, match="size 't' has no value"):
        evaluate(program, {"a": a, "b": b})


def test_unwritten_memory_shows() -> None:
    text = TILED.replace("where(i0 * 4 + i1 < 5 and", "where(i0 * 4 + i1 < 4 and")
    found = evaluate(parse(text), {"a": np.ones((5, 6)), "b": np.ones((6, 7))})["c"]
    assert np.isnan(found[4]).all()
    assert (found[:4] == 6).all()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (" and k0 * 4 + k1 < 6", "", r"vk of block c: 6 is outside \[0, 6\)"),
        ("a[vi, vk] *", "a[vi, vk + 1] *", r"dimension 1 of buffer a: 6 is outside \[0, 6\)"),
        ("a[vi, vk] *", "a[vi, vk - 1] *", r"dimension 1 of buffer a: -1 is outside"),
        ("c[wi, wj] =", "c[wi, wj * 2] =", r"dimension 1 of buffer c: 8 is outside \[0, 7\)"),
    ],
)
def test_leaving_bounds_raises(old: str, new: str, message: str) -> None:
    assert old in TILED
    with pytest.raises(IndexError, match=message):
        evaluate(parse(TILED.replace(old, new)), {"a": np.ones((5, 6)), "b": np.ones((6, 7))})


def test_inputs_are_checked() -> None:
    program = ops.matmul(m=2, n=2, k=2)
    with pytest.raises(UsageError, match=r"input 'b' is missing; give an array of shape \(2, 2\)"):
        evaluate(program, {"a": np.ones((2, 2))})
    with pytest.raises(UsageError, match=r"input 'b' has shape \(2, 3\), expected \(2, 2\)"):
        evaluate(program, {"a": np.ones((2, 2)), "b": np.ones((2, 3))})


# -- arithmetic --------------------------------------------------------------------------------


def elementwise(function: Any, *data: Any) -> Any:
    tensors = [te.placeholder((len(d),), str(d.dtype), name=f"a{i}") for i, d in enumerate(data)]
    o = te.compute((len(data[0]),), lambda i: function(*(t[i] for t in tensors)), name="o")
    arrays = {f"a{i}": d for i, d in enumerate(data)}
    return evaluate(te.program([*tensors, o]), arrays, precision="program")["o"]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_round_as_numpy(dtype: str) -> None:
    rng = np.random.default_rng(1)
    x, y = (rng.uniform(0.1, 100, 200).astype(dtype) for _ in range(2))
    for function in (
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: a * b,
        lambda a, b: a / b,
    ):
        np.testing.assert_array_equal(elementwise(function, x, y), function(x, y))
    np.testing.assert_array_equal(elementwise(te.sqrt, x), np.sqrt(x))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "uint32"])
def test_integers_wrap_as_numpy(dtype: str) -> None:
    info = np.iinfo(dtype)
    rng = np.random.default_rng(2)
    x, y = (rng.integers(info.min, info.max, 100, dtype, endpoint=True) for _ in range(2))
    for function in (lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b):
        np.testing.assert_array_equal(elementwise(function, x, y), function(x, y))
    y[y == 0] = 1
    np.testing.assert_array_equal(elementwise(lambda a, b: a // b, x, y), x // y)
    np.testing.assert_array_equal(elementwise(lambda a, b: a % b, x, y), x % y)


def test_casts() -> None:
    x = np.array([-2.7, 2.7, 300.0, 0.0])
    assert elementwise(lambda a: te.cast(a, "int32"), x).tolist() == [-2, 2, 300, 0]
    assert elementwise(lambda a: te.cast(a, "uint8"), x).tolist() == [254, 2, 44, 0]
    assert elementwise(lambda a: te.cast(a, "bool"), x).tolist() == [True, True, True, False]
    assert elementwise(lambda a: te.cast(a, "float32"), x).dtype == np.float32


def test_bfloat16_is_held_as_bits() -> None:
    a = te.placeholder((3,), "bfloat16", name="a")
    o = te.compute((3,), lambda i: a[i] * a[i], name="o")
    bits = (np.array([1.0, 1.5, 3.0], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    found = evaluate(te.program([a, o]), {"a": bits}, precision="program")["o"]
    assert found.dtype == np.uint16
    assert (found.astype(np.uint32) << 16).view(np.float32).tolist() == [1.0, 2.25, 9.0]


def test_scalar_functions_follow_ieee() -> None:
    m = reference_math
    inf, nan = math.inf, math.nan
    assert m.div(1.0, 0.0) == inf
    assert m.div(-1.0, 0.0) == -inf
    assert m.div(1.0, -0.0) == -inf
    assert math.isnan(m.div(0.0, 0.0))
    assert m.exp(1000.0) == inf
    assert m.exp(-1000.0) == 0
    assert m.log(0.0) == -inf
    assert math.isnan(m.log(-1.0))
    assert math.isnan(m.sqrt(-1.0))
    assert m.rsqrt(0.0) == inf
    assert m.power(10.0, 400.0) == inf
    assert m.power(0.0, -1.0) == inf
    assert math.isnan(m.power(-1.0, 0.5))
    assert math.isnan(m.fmax(nan, 1.0))
    assert math.isnan(m.fmin(1.0, nan))
    assert m.nearest(0.5) == 0.0
    assert m.nearest(-inf) == -inf
    assert m.floor(-inf) == -inf
    assert m.sigmoid(-1000.0) == 0.0
    assert m.f16(1e6) == inf
    assert m.f32(1e39) == inf
    assert m.bf16(1.0039) == 1.0
    assert m.bf16(3.4e38) == inf
    assert m.bf16(-inf) == -inf
    assert m.to_int(nan) == 0
    assert math.isnan(m.poison(DType("float", 32)))
    assert m.poison(DType("bool", 8)) == 0
