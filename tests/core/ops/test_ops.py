"""Every operator against NumPy, at small and odd sizes, through the reference interpreter."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metasched import ops
from metasched.errors import UsageError
from metasched.ir.reference import evaluate
from metasched.ir.stmt import Program

Arrays = dict[str, Any]


def uniform(program: Program, seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    return {
        b.name: rng.uniform(-1, 1, [int(e.value) for e in b.shape]).astype(b.dtype.numpy())
        for b in program.inputs
    }


def run(program: Program) -> tuple[Arrays, Any]:
    inputs = uniform(program)
    (output,) = evaluate(program, inputs).values()
    return {k: v.astype(np.float64) for k, v in inputs.items()}, output


def close(got: Any, want: Any) -> None:
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


# -- convolutions by definition ----------------------------------------------------------------


def windows(x: Any, k: int, s: int, p: int, dilation: int, rank: int) -> Any:
    """``[n, positions..., taps..., c]`` of channels-last data."""
    x = np.pad(x, [(0, 0), *[(p, p)] * rank, (0, 0)])
    reach = dilation * (k - 1) + 1
    view = np.lib.stride_tricks.sliding_window_view(x, (reach,) * rank, tuple(range(1, rank + 1)))
    steps = (slice(None), *[slice(None, None, s)] * rank, slice(None))
    view = view[steps + (slice(None, None, dilation),) * rank]
    return np.moveaxis(view, rank + 1, -1)


def direct(x: Any, w: Any, s: int, p: int, dilation: int, groups: int) -> Any:
    rank = x.ndim - 2
    taken = windows(x, w.shape[0], s, p, dilation, rank)
    ci, co = w.shape[-2], w.shape[-1] // groups
    parts = [
        np.tensordot(
            taken[..., g * ci : (g + 1) * ci], w[..., g * co : (g + 1) * co], axes=rank + 1
        )
        for g in range(groups)
    ]
    return np.concatenate(parts, axis=-1)


def scattered(x: Any, w: Any, s: int, p: int) -> Any:
    """Transposed convolution by its definition: every input adds its kernel to the output."""
    n, h, width, _ = x.shape
    k, co = w.shape[0], w.shape[-1]
    full = np.zeros((n, (h - 1) * s + k, (width - 1) * s + k, co))
    for i in range(h):
        for j in range(width):
            full[:, i * s : i * s + k, j * s : j * s + k] += np.einsum(
                "nc,abco->nabo", x[:, i, j], w
            )
    return full[:, p : full.shape[1] - p, p : full.shape[2] - p]


# -- products ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_matmul(dtype: str) -> None:
    arrays, c = run(ops.matmul(m=3, n=5, k=7, dtype=dtype))
    close(c, arrays["a"] @ arrays["b"])


def test_int8_matmul_accumulates_in_int32() -> None:
    program = ops.matmul(m=3, n=4, k=300, dtype="int8", acc_dtype="int32")
    a, b = np.full((3, 300), 127, np.int8), np.full((300, 4), -128, np.int8)
    c = evaluate(program, {"a": a, "b": b})["c"]
    assert c.dtype == np.int32
    assert (c == 300 * 127 * -128).all()


def test_batch_matmul() -> None:
    arrays, z = run(ops.batch_matmul(b=2, m=3, n=5, k=4))
    close(z, arrays["x"] @ arrays["y"])


def test_transpose_batch_matmul() -> None:
    arrays, o = run(ops.transpose_batch_matmul(b=2, l=3, h=4, d=5))
    close(o, np.einsum("blhd,bmhd->bhlm", arrays["q"], arrays["v"]))


def test_attention_scores() -> None:
    arrays, o = run(ops.attention_scores(h=2, l=5, d=3))
    close(o, np.einsum("hid,hjd->hij", arrays["q"], arrays["k"]))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", [None, "relu", "gelu"])
def test_dense(bias: bool, activation: Any) -> None:
    arrays, o = run(ops.dense(m=3, n=5, k=4, bias=bias, activation=activation))
    z = arrays["x"] @ arrays["y"] + (arrays["bias"] if bias else 0)
    functions: dict[Any, Callable[[Any], Any]] = {None: lambda v: v, "relu": relu, "gelu": gelu}
    close(o, functions[activation](z))


# -- convolutions ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("s", "p", "dilation", "groups"), [(1, 0, 1, 1), (2, 1, 1, 2), (3, 2, 2, 1)]
)
def test_conv1d(s: int, p: int, dilation: int, groups: int) -> None:
    program = ops.conv1d(n=2, l=11, ci=4, co=6, k=3, s=s, p=p, dilation=dilation, groups=groups)
    arrays, y = run(program)
    close(y, direct(arrays["x"], arrays["w"], s, p, dilation, groups))


@pytest.mark.parametrize(
    ("k", "s", "p", "dilation", "groups"),
    [(1, 1, 0, 1, 1), (3, 1, 1, 1, 1), (3, 2, 1, 1, 4), (2, 2, 3, 2, 2), (3, 3, 2, 2, 1)],
)
def test_conv2d(k: int, s: int, p: int, dilation: int, groups: int) -> None:
    shape = {"n": 2, "h": 7, "w": 6, "ci": 4, "co": 8}
    program = ops.conv2d(**shape, k=k, s=s, p=p, dilation=dilation, groups=groups)
    arrays, y = run(program)
    close(y, direct(arrays["x"], arrays["w"], s, p, dilation, groups))


def test_conv3d() -> None:
    arrays, y = run(ops.conv3d(d=4, h=5, w=6, ci=2, co=3, k=3, s=2, p=1))
    close(y, direct(arrays["x"], arrays["w"], 2, 1, 1, 1))


@pytest.mark.parametrize(("s", "p"), [(1, 1), (2, 0)])
def test_depthwise_conv2d(s: int, p: int) -> None:
    arrays, y = run(ops.depthwise_conv2d(n=2, h=7, w=6, c=3, k=3, s=s, p=p))
    taken = windows(arrays["x"], 3, s, p, 1, 2)
    close(y, np.einsum("nijabc,abc->nijc", taken, arrays["w"]))


def test_conv2d_bias_relu() -> None:
    arrays, o = run(ops.conv2d_bias_relu(h=7, w=6, ci=3, co=4, k=3, s=2, p=1))
    y = direct(arrays["x"], arrays["w"], 2, 1, 1, 1)
    close(o, relu((y + arrays["bias"]) * arrays["scale"] + arrays["shift"]))


SIZES = [(4, 4), (3, 5), (1, 2)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("s", [1, 2, 3])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("p", [0, 1, 2, 3])
def test_conv2d_transpose(k: int, s: int, p: int, size: tuple[int, int]) -> None:
    h, w = size
    arguments = {"n": 2, "h": h, "w": w, "ci": 2, "co": 3, "k": k, "s": s, "p": p}
    if min(h, w) * s - s - 2 * p + k < 1:
        with pytest.raises(UsageError, match="cuts the whole output"):
            ops.conv2d_transpose(**arguments)
        return
    arrays, out = run(ops.conv2d_transpose(**arguments))
    close(out, scattered(arrays["x"], arrays["w"], s, p))


def test_conv2d_transpose_multiplies_no_inserted_zero() -> None:
    program = ops.conv2d_transpose(h=4, w=4, ci=512, co=256, k=4, s=2, p=1)
    assert ops.flops(program) == 2 * 8 * 8 * 256 * 512 * 2 * 2


# -- reductions and elementwise ----------------------------------------------------------------


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


def gelu(x: Any) -> Any:
    return x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def test_norm() -> None:
    arrays, length = run(ops.norm(b=3, m=4, n=5))
    close(length, np.linalg.norm(arrays["a"], axis=(1, 2)))


def test_softmax() -> None:
    arrays, o = run(ops.softmax(m=3, n=7))
    e = np.exp(arrays["a"])
    close(o, e / e.sum(axis=1, keepdims=True))


def test_layer_norm() -> None:
    arrays, o = run(ops.layer_norm(m=3, n=7))
    a = arrays["a"]
    centred = a - a.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt(a.var(axis=1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(o, scaled * arrays["gamma"] + arrays["beta"], rtol=1e-12)


def test_reductions() -> None:
    arrays, total = run(ops.reduce_sum(m=3, n=7))
    close(total, arrays["a"].sum(axis=1))
    arrays, largest = run(ops.reduce_max(m=3, n=7))
    close(largest, arrays["a"].max(axis=1))


def test_argmax_takes_the_first_of_equals() -> None:
    a = np.array([[1, 3, 3, 0], [-np.inf] * 4, [5, 5, 5, 5], [0, 1, 2, 3]])
    assert evaluate(ops.argmax(m=4, n=4), {"a": a})["o"].tolist() == [1, 0, 0, 3]


def test_elementwise() -> None:
    arrays, o = run(ops.relu(m=3, n=5))
    close(o, relu(arrays["a"]))
    arrays, o = run(ops.gelu(m=3, n=5))
    np.testing.assert_allclose(o, gelu(arrays["a"]), rtol=1e-12)
    arrays, o = run(ops.add_relu(m=3, n=5))
    close(o, relu(arrays["a"] + arrays["b"]))
    arrays, o = run(ops.transpose(m=3, n=5))
    close(o, arrays["a"].T)


# -- refusals ----------------------------------------------------------------------------------


def test_registry_names_every_operator() -> None:
    assert "matmul" in ops.names()
    assert ops.get("matmul") is ops.matmul
    exported = {n for n in ops.__all__ if n not in ("flops", "get", "names")}
    assert exported == set(ops.names())


def test_unknown_operator_suggests_the_closest() -> None:
    with pytest.raises(UsageError, match="unknown operator 'matmull'; did you mean 'matmul'"):
        ops.get("matmull")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("matmul", {"m": 0, "n": 1, "k": 1}, "m=0 is given, an integer of at least 1"),
        ("matmul", {"m": 1.5, "n": 1, "k": 1}, "m=1.5 is given"),
        ("matmul", {"m": True, "n": 1, "k": 1}, "m=True is given"),
        ("matmul", {"m": 1, "n": 1, "k": 1, "dtype": "float31"}, "unknown dtype 'float31'"),
        ("conv1d", {"l": 4, "ci": 3, "co": 4, "k": 3, "groups": 2}, "must divide both ci=3"),
        ("conv1d", {"l": 4, "ci": 3, "co": 4, "k": 9}, "does not fit an input of 4"),
        ("conv1d", {"l": 4, "ci": 3, "co": 4, "k": 3, "p": -1}, "p=-1 is given"),
        ("dense", {"m": 1, "n": 1, "k": 1, "activation": "rellu"}, "did you mean 'relu'"),
        ("layer_norm", {"m": 1, "n": 1, "eps": 0}, "eps=0 is given, a positive number"),
        ("softmax", {"m": 1, "n": 4, "dtype": "int32"}, "te.exp needs a float"),
    ],
)
def test_bad_arguments_are_refused(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ops.get(name)(**arguments)
