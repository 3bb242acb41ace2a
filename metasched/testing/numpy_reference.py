"""The operators of the suite in NumPy: what results are compared with, and a speed to beat.

Where NumPy has the operation itself (`NATURAL`), the function is what a user of NumPy would
write; the others follow the definition through windows and are only good for comparing results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np

from metasched.errors import UsageError, suggest

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Function: TypeAlias = Callable[..., Array]
Arguments: TypeAlias = Mapping[str, Any]

NATURAL: Final = frozenset(
    {
        "attention_scores",
        "batch_matmul",
        "dense",
        "matmul",
        "norm",
        "softmax",
        "transpose_batch_matmul",
    }
)
"""Operators that NumPy computes with calls made for them."""


def reference(op: str, arguments: Arguments) -> Function:
    """The function that computes an operator from its inputs in order.

    Raises:
        UsageError: the operator has no reference.

    >>> reference("matmul", {})(np.ones((2, 3)), np.ones((3, 1))).tolist()
    [[3.0], [3.0]]
    """
    if op not in _MAKERS:
        raise UsageError(f"no NumPy reference of '{op}'{suggest(op, _MAKERS)}")
    return _MAKERS[op](arguments)


def windows(x: Array, k: int, s: int, p: int, dilation: int) -> Array:
    """``[n, positions..., taps..., c]`` of channels-last data, a view of the padded input."""
    rank = x.ndim - 2
    padded = np.pad(x, [(0, 0), *[(p, p)] * rank, (0, 0)])
    reach = dilation * (k - 1) + 1
    axes = tuple(range(1, rank + 1))
    view: Array = np.lib.stride_tricks.sliding_window_view(padded, (reach,) * rank, axes)
    positions = (slice(None, None, s),) * rank
    taps = (slice(None, None, dilation),) * rank
    view = view[(slice(None), *positions, slice(None), *taps)]
    return np.moveaxis(view, rank + 1, -1)


def _convolve(a: Arguments, x: Array, w: Array) -> Array:
    groups, rank = a.get("groups", 1), x.ndim - 2
    taken = windows(x, w.shape[0], a.get("s", 1), a.get("p", 0), a.get("dilation", 1))
    ci, co = w.shape[-2], w.shape[-1] // groups
    y: Array = np.empty((*taken.shape[: 1 + rank], w.shape[-1]), x.dtype)
    for g in range(groups):
        outputs = slice(g * co, (g + 1) * co)
        kernel = w[..., outputs]
        # A row at a time: the product needs a copy of the windows, which are many.
        for row in range(taken.shape[1]):
            window = taken[:, row, ..., g * ci : (g + 1) * ci]
            y[:, row, ..., outputs] = np.tensordot(window, kernel, axes=rank + 1)
    return y


def _conv(a: Arguments) -> Function:
    return partial(_convolve, a)


def _conv_bias_relu(a: Arguments) -> Function:
    def function(x: Array, w: Array, bias: Array, scale: Array, shift: Array) -> Array:
        return np.maximum((_convolve(a, x, w) + bias) * scale + shift, 0)

    return function


def _depthwise(a: Arguments) -> Function:
    def function(x: Array, w: Array) -> Array:
        taken = windows(x, a["k"], a.get("s", 1), a.get("p", 0), 1)
        return np.einsum("nijabc,abc->nijc", taken, w)

    return function


def _transposed(a: Arguments) -> Function:
    """Every input adds its kernel, scaled, to a window of the output."""
    k, s, p = a["k"], a.get("s", 1), a.get("p", 0)

    def function(x: Array, w: Array) -> Array:
        n, h, width, _ = x.shape
        full = np.zeros((n, (h - 1) * s + k, (width - 1) * s + k, w.shape[-1]), x.dtype)
        for i in range(h):
            for j in range(width):
                added = np.tensordot(x[:, i, j], w, axes=(1, 2))
                full[:, i * s : i * s + k, j * s : j * s + k] += added
        return full[:, p : full.shape[1] - p, p : full.shape[2] - p]

    return function


def _dense(a: Arguments) -> Function:
    activation = a.get("activation")
    if activation not in (None, "relu"):
        raise UsageError(f"NumPy has no '{activation}', which needs erf; expected relu or none")

    def function(x: Array, y: Array, bias: Array | None = None) -> Array:
        z: Array = x @ y
        if bias is not None:
            np.add(z, bias, out=z)
        return np.maximum(z, 0, out=z) if activation else z

    return function


def _attention_scores(q: Array, k: Array) -> Array:
    return np.matmul(q, k.transpose(0, 2, 1))


def _transpose_batch_matmul(q: Array, v: Array) -> Array:
    return np.matmul(q.transpose(0, 2, 1, 3), v.transpose(0, 2, 3, 1))


def _norm(x: Array) -> Array:
    return np.sqrt(np.einsum("bij,bij->b", x, x))


def _softmax(x: Array) -> Array:
    e: Array = np.exp(x - x.max(axis=-1, keepdims=True))
    e /= e.sum(axis=-1, keepdims=True)
    return e


def _always(function: Function) -> Callable[[Arguments], Function]:
    """The maker of a function that looks at no argument."""
    return lambda _: function


_MAKERS: Final[dict[str, Callable[[Arguments], Function]]] = {
    "attention_scores": _always(_attention_scores),
    "batch_matmul": _always(np.matmul),
    "conv1d": _conv,
    "conv2d": _conv,
    "conv2d_bias_relu": _conv_bias_relu,
    "conv2d_transpose": _transposed,
    "conv3d": _conv,
    "dense": _dense,
    "depthwise_conv2d": _depthwise,
    "matmul": _always(np.matmul),
    "norm": _always(_norm),
    "softmax": _always(_softmax),
    "transpose_batch_matmul": _always(_transpose_batch_matmul),
}
