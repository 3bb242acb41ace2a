"""What the device script runs: operators with shapes, and what PyTorch computes for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import metasched as ms

Arrays = list[Any]


@dataclass(frozen=True)
class Case:
    """An operator at a shape, with a function of torch tensors in the operator's layouts."""

    name: str
    op: str
    arguments: Mapping[str, Any]
    torch: Callable[[Any, Arrays], Any]
    size: str = "full"

    @property
    def program(self) -> ms.Program:
        return ms.ops.get(self.op)(**self.arguments)


def matmul(torch: Any, arrays: Arrays) -> Any:
    return torch.matmul(*arrays)


def scores(torch: Any, arrays: Arrays) -> Any:
    q, k = arrays
    return torch.matmul(q, k.transpose(1, 2))


def conv(s: int, p: int, dilation: int = 1, groups: int = 1) -> Callable[[Any, Arrays], Any]:
    def call(torch: Any, arrays: Arrays) -> Any:
        x, w = arrays[0].movedim(-1, 1), arrays[1].movedim(-1, 0).movedim(-1, 1)
        function = getattr(torch.nn.functional, f"conv{w.ndim - 2}d")
        y = function(x, w, None, s, p, dilation, groups)
        return y.movedim(1, -1)

    return call


def depthwise(s: int, p: int) -> Callable[[Any, Arrays], Any]:
    def call(torch: Any, arrays: Arrays) -> Any:
        x, w = arrays[0].movedim(-1, 1), arrays[1].permute(2, 0, 1)[:, None]
        y = torch.nn.functional.conv2d(x, w, None, s, p, 1, x.shape[1])
        return y.movedim(1, -1)

    return call


def conv_bias_relu(s: int, p: int) -> Callable[[Any, Arrays], Any]:
    def call(torch: Any, arrays: Arrays) -> Any:
        x, w = arrays[0].movedim(-1, 1), arrays[1].movedim(-1, 0).movedim(-1, 1)
        scale, shift = (t.view(1, -1, 1, 1) for t in arrays[3:5])
        y = torch.nn.functional.conv2d(x, w, arrays[2], s, p)
        return torch.relu(y * scale + shift).movedim(1, -1)

    return call


def transposed(s: int, p: int) -> Callable[[Any, Arrays], Any]:
    def call(torch: Any, arrays: Arrays) -> Any:
        x, w = arrays[0].movedim(-1, 1), arrays[1].permute(2, 3, 0, 1)
        return torch.nn.functional.conv_transpose2d(x, w, None, s, p).movedim(1, -1)

    return call


def transpose_matmul(torch: Any, arrays: Arrays) -> Any:
    q, v = arrays
    return torch.matmul(q.permute(0, 2, 1, 3), v.permute(0, 2, 3, 1))


def dense_relu(torch: Any, arrays: Arrays) -> Any:
    x, w, bias = arrays
    return torch.relu(torch.matmul(x, w) + bias)


def softmax(torch: Any, arrays: Arrays) -> Any:
    return torch.softmax(arrays[0], -1)


def norm(torch: Any, arrays: Arrays) -> Any:
    return torch.linalg.vector_norm(arrays[0], dim=(1, 2))


def layer_norm(torch: Any, arrays: Arrays) -> Any:
    x, gamma, beta = arrays
    return torch.nn.functional.layer_norm(x, (x.shape[-1],), gamma, beta, 1e-5)


def row_sum(torch: Any, arrays: Arrays) -> Any:
    return arrays[0].sum(-1)


def _small() -> list[Case]:
    """The operator suite at odd and small sizes, for correctness."""
    image = {"h": 15, "w": 17, "ci": 3, "co": 8, "k": 3, "s": 2, "p": 1}
    f16 = {"dtype": "float16", "acc_dtype": "float32"}
    made = [
        ("matmul", {"m": 65, "n": 127, "k": 33}, matmul),
        ("matmul", {"m": 128, "n": 128, "k": 64}, matmul),
        ("matmul", {"m": 64, "n": 96, "k": 128, **f16}, matmul),
        ("matmul", {"m": 128, "n": 128, "k": 128, **f16, "dtype": "bfloat16"}, matmul),
        ("batch_matmul", {"b": 3, "m": 31, "n": 64, "k": 50}, matmul),
        ("conv1d", {"l": 33, "ci": 8, "co": 16, "k": 3, "s": 2, "p": 1}, conv(2, 1)),
        ("conv2d", image, conv(2, 1)),
        ("conv2d", {**image, "p": 2, "dilation": 2}, conv(2, 2, 2)),
        ("conv2d", {**image, "ci": 16, "co": 8, "groups": 4}, conv(2, 1, 1, 4)),
        ("conv3d", {"d": 5, **image}, conv(2, 1)),
        ("depthwise_conv2d", {"h": 14, "w": 18, "c": 12, "k": 3, "s": 1, "p": 1}, depthwise(1, 1)),
        (
            "conv2d_transpose",
            {"h": 4, "w": 5, "ci": 12, "co": 8, "k": 4, "s": 2, "p": 1},
            transposed(2, 1),
        ),
        ("conv2d_bias_relu", image, conv_bias_relu(2, 1)),
        ("transpose_batch_matmul", {"b": 1, "l": 32, "h": 4, "d": 24}, transpose_matmul),
        ("norm", {"b": 3, "m": 65, "n": 40}, norm),
        ("softmax", {"m": 37, "n": 129}, softmax),
        ("layer_norm", {"m": 19, "n": 257}, layer_norm),
        ("reduce_sum", {"m": 65, "n": 1031}, row_sum),
        ("dense", {"m": 16, "n": 96, "k": 48, "bias": True, "activation": "relu"}, dense_relu),
        ("attention_scores", {"h": 4, "l": 32, "d": 24}, scores),
    ]
    return [
        Case(f"{number}:{op}", op, arguments, function, "small")
        for number, (op, arguments, function) in enumerate(made)
    ]


def _full() -> list[Case]:
    """The shapes that kernels are compared at."""
    found: list[Case] = []
    for n in (1024, 4096, 8192):
        found.append(Case(f"GMM-{n}-f32", "matmul", {"m": n, "n": n, "k": n}, matmul))
        for short, dtype in (("f16", "float16"), ("bf16", "bfloat16")):
            arguments = {"m": n, "n": n, "k": n, "dtype": dtype, "acc_dtype": "float32"}
            found.append(Case(f"GMM-{n}-{short}", "matmul", arguments, matmul))
    found.append(Case("QKT-f32", "attention_scores", {"h": 192, "l": 512, "d": 64}, scores))
    layers = [
        ("C2D-1", 224, 3, 64, 7, 2, 3),
        ("C2D-2", 56, 64, 64, 3, 1, 1),
        ("C2D-3", 56, 64, 256, 1, 1, 0),
        ("C2D-4", 28, 128, 128, 3, 1, 1),
        ("C2D-5", 14, 256, 256, 3, 1, 1),
        ("C2D-6", 7, 512, 512, 3, 1, 1),
    ]
    for name, h, ci, co, k, s, p in layers:
        arguments = {"n": 16, "h": h, "w": h, "ci": ci, "co": co, "k": k, "s": s, "p": p}
        found.append(Case(f"{name}-f32", "conv2d", arguments, conv(s, p)))
        for short, dtype in (("f16", "float16"), ("bf16", "bfloat16")):
            narrow = {**arguments, "dtype": dtype, "acc_dtype": "float32"}
            found.append(Case(f"{name}-{short}", "conv2d", narrow, conv(s, p)))
    channels = {"n": 16, "h": 112, "w": 112, "c": 32, "k": 3, "s": 1, "p": 1}
    found.append(Case("DEP-f32", "depthwise_conv2d", channels, depthwise(1, 1)))
    found.append(Case("SFM-f32", "softmax", {"m": 16384, "n": 1024}, softmax))
    found.append(Case("LNM-f32", "layer_norm", {"m": 16384, "n": 1024}, layer_norm))
    found.append(Case("SUM-f32", "reduce_sum", {"m": 16384, "n": 1024}, row_sum))
    return found


SMALL = _small()
FULL = _full()
