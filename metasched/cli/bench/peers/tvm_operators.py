"""The suite's operators in TVM's tensor expressions: the parameters and layouts of `metasched.ops`.

Written as TVM's own suite writes them, so that its search gets the programs it was made for.
"""

# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import te, tirx

Arguments = dict[str, Any]


def define(op: str, arguments: Arguments) -> list[Any]:
    """The parameters of an operator, inputs first, the output last.

    Raises:
        LookupError: the operator has no definition here.
    """
    if op not in _DEFINITIONS:
        raise LookupError(f"no TVM definition of '{op}' is known")
    return _DEFINITIONS[op](arguments)


def _pad(x: Any, widths: list[int]) -> Any:
    """Zeros around ``x``, as many before as after in each dimension."""
    if not any(widths):
        return x
    sizes = [int(size) for size in x.shape]

    def body(*i: Any) -> Any:
        inside: list[Any] = []
        for axis, size, width in zip(i, sizes, widths, strict=True):
            inside += [axis >= width, axis < size + width] if width else []
        source = [axis - width for axis, width in zip(i, widths, strict=True)]
        return te.if_then_else(te.all(*inside), x(*source), tirx.const(0.0, "float32"))

    shape = [size + 2 * width for size, width in zip(sizes, widths, strict=True)]
    return te.compute(shape, body, name="pad")


def _conv(a: Arguments, directions: str) -> list[Any]:
    n, ci, co, k = a.get("n", 1), a["ci"], a["co"], a["k"]
    s, p = a.get("s", 1), a.get("p", 0)
    dilation, groups = a.get("dilation", 1), a.get("groups", 1)
    rank, per_in, per_out = len(directions), ci // groups, co // groups
    x = te.placeholder((n, *(a[d] for d in directions), ci), name="x")
    weight = te.placeholder((*[k] * rank, per_in, co), name="w")
    padded = _pad(x, [0, *[p] * rank, 0])
    taps = [te.reduce_axis((0, k), name=f"r{d}") for d in directions]
    rc = te.reduce_axis((0, per_in), name="rc")

    def body(*i: Any) -> Any:
        batch, *position, c = i
        channel = rc if groups == 1 else te.indexdiv(c, per_out) * per_in + rc
        source = [o * s + r * dilation for o, r in zip(position, taps, strict=True)]
        return te.sum(padded(batch, *source, channel) * weight(*taps, rc, c), axis=[*taps, rc])

    sizes = [(a[d] + 2 * p - dilation * (k - 1) - 1) // s + 1 for d in directions]
    return [x, weight, te.compute((n, *sizes, co), body, name="conv")]


def _relu(x: Any) -> Any:
    zero = tirx.const(0.0, "float32")
    return te.compute(x.shape, lambda *i: te.max(x(*i), zero), name="relu")


def _conv_bias_relu(a: Arguments) -> list[Any]:
    x, weight, y = _conv(a, "hw")
    bias, scale, shift = (te.placeholder((a["co"],), name=m) for m in ("bias", "scale", "shift"))
    t = te.compute(y.shape, lambda n, i, j, c: y[n, i, j, c] + bias[c], name="add_bias")
    u = te.compute(y.shape, lambda n, i, j, c: t[n, i, j, c] * scale[c], name="bn_mul")
    v = te.compute(y.shape, lambda n, i, j, c: u[n, i, j, c] + shift[c], name="bn_add")
    return [x, weight, bias, scale, shift, _relu(v)]


def _depthwise(a: Arguments) -> list[Any]:
    n, h, w, c, k = a.get("n", 1), a["h"], a["w"], a["c"], a["k"]
    s, p = a.get("s", 1), a.get("p", 0)
    x = te.placeholder((n, h, w, c), name="x")
    weight = te.placeholder((k, k, c), name="w")
    padded = _pad(x, [0, p, p, 0])
    rh, rw = te.reduce_axis((0, k), name="rh"), te.reduce_axis((0, k), name="rw")

    def body(b: Any, i: Any, j: Any, ch: Any) -> Any:
        return te.sum(padded[b, i * s + rh, j * s + rw, ch] * weight[rh, rw, ch], axis=[rh, rw])

    shape = (n, (h + 2 * p - k) // s + 1, (w + 2 * p - k) // s + 1, c)
    return [x, weight, te.compute(shape, body, name="depthwise")]


def _transposed(a: Arguments) -> list[Any]:
    """A convolution of the image with ``s - 1`` zeros between its pixels."""
    n, h, w, ci, co, k = a.get("n", 1), a["h"], a["w"], a["ci"], a["co"], a["k"]
    s, p = a.get("s", 1), a.get("p", 0)
    before = k - 1 - p
    pixels = -(-before // s)
    offset = pixels * s - before
    x = te.placeholder((n, h, w, ci), name="x")
    weight = te.placeholder((k, k, ci, co), name="w")
    padded = _pad(x, [0, pixels, pixels, 0])
    rh, rw = te.reduce_axis((0, k), name="rh"), te.reduce_axis((0, k), name="rw")
    rc = te.reduce_axis((0, ci), name="rc")

    def body(b: Any, i: Any, j: Any, c: Any) -> Any:
        row, column = i + rh + offset, j + rw + offset
        there = te.all(te.indexmod(row, s).equal(0), te.indexmod(column, s).equal(0))
        pixel = padded[b, te.indexdiv(row, s), te.indexdiv(column, s), rc]
        value = te.if_then_else(there, pixel, tirx.const(0.0, "float32"))
        return te.sum(value * weight[k - 1 - rh, k - 1 - rw, rc, c], axis=[rh, rw, rc])

    shape = (n, (h - 1) * s - 2 * p + k, (w - 1) * s - 2 * p + k, co)
    return [x, weight, te.compute(shape, body, name="tconv")]


def _batch_matmul(a: Arguments) -> list[Any]:
    b, m, n, k = a.get("b", 1), a["m"], a["n"], a["k"]
    x = te.placeholder((b, m, k), name="x")
    y = te.placeholder((b, k, n), name="y")
    r = te.reduce_axis((0, k), name="k")
    z = te.compute((b, m, n), lambda q, i, j: te.sum(x[q, i, r] * y[q, r, j], axis=r), name="z")
    return [x, y, z]


def _transpose_batch_matmul(a: Arguments) -> list[Any]:
    b, l, h, d = a.get("b", 1), a["l"], a["h"], a["d"]  # noqa: E741
    q = te.placeholder((b, l, h, d), name="q")
    v = te.placeholder((b, l, h, d), name="v")
    qt = te.compute((b, h, l, d), lambda n, head, i, e: q[n, i, head, e], name="q_t")
    vt = te.compute((b, h, d, l), lambda n, head, e, i: v[n, i, head, e], name="v_t")
    r = te.reduce_axis((0, d), name="r")

    def body(n: Any, head: Any, i: Any, j: Any) -> Any:
        return te.sum(qt[n, head, i, r] * vt[n, head, r, j], axis=r)

    return [q, v, te.compute((b, h, l, l), body, name="o")]


def _attention_scores(a: Arguments) -> list[Any]:
    h, l, d = a["h"], a["l"], a["d"]  # noqa: E741
    q = te.placeholder((h, l, d), name="q")
    k = te.placeholder((h, l, d), name="kk")
    r = te.reduce_axis((0, d), name="r")

    def body(head: Any, i: Any, j: Any) -> Any:
        return te.sum(q[head, i, r] * k[head, j, r], axis=r)

    return [q, k, te.compute((h, l, l), body, name="o")]


def _dense(a: Arguments) -> list[Any]:
    if a.get("activation") not in (None, "relu"):
        raise LookupError("only relu is defined as an activation")
    m, n, k = a["m"], a["n"], a["k"]
    x = te.placeholder((m, k), name="x")
    y = te.placeholder((k, n), name="y")
    r = te.reduce_axis((0, k), name="k")
    z = te.compute((m, n), lambda i, j: te.sum(x[i, r] * y[r, j], axis=r), name="z")
    parameters = [x, y]
    if a.get("bias", True):
        bias = te.placeholder((n,), name="bias")
        product, parameters = z, [x, y, bias]
        z = te.compute((m, n), lambda i, j: product[i, j] + bias[j], name="add_bias")
    return [*parameters, _relu(z) if a.get("activation") else z]


def _norm(a: Arguments) -> list[Any]:
    b, m, n = a.get("b", 1), a["m"], a["n"]
    x = te.placeholder((b, m, n), name="a")
    i, j = te.reduce_axis((0, m), name="i"), te.reduce_axis((0, n), name="j")
    s = te.compute((b,), lambda q: te.sum(x[q, i, j] * x[q, i, j], axis=[i, j]), name="s")
    # TVM keeps the name "root" for a block of its own.
    return [x, te.compute((b,), lambda q: te.sqrt(s[q]), name="length")]


def _softmax(a: Arguments) -> list[Any]:
    m, n = a["m"], a["n"]
    x = te.placeholder((m, n), name="a")
    r, q = te.reduce_axis((0, n), name="r"), te.reduce_axis((0, n), name="q")
    most = te.compute((m,), lambda i: te.max(x[i, r], axis=r), name="most")
    e = te.compute((m, n), lambda i, j: te.exp(x[i, j] - most[i]), name="e")
    total = te.compute((m,), lambda i: te.sum(e[i, q], axis=q), name="total")
    return [x, te.compute((m, n), lambda i, j: e[i, j] / total[i], name="o")]


_DEFINITIONS: dict[str, Callable[[Arguments], list[Any]]] = {
    "attention_scores": _attention_scores,
    "batch_matmul": _batch_matmul,
    "conv1d": lambda a: _conv(a, "l"),
    "conv2d": lambda a: _conv(a, "hw"),
    "conv2d_bias_relu": _conv_bias_relu,
    "conv2d_transpose": _transposed,
    "conv3d": lambda a: _conv(a, "dhw"),
    "dense": _dense,
    "depthwise_conv2d": _depthwise,
    "norm": _norm,
    "softmax": _softmax,
    "transpose_batch_matmul": _transpose_batch_matmul,
}
