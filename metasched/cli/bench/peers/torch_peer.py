"""PyTorch as an entrant: eager mode, which calls oneDNN, on channels-last tensors."""

# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import serve
import torch
import torch.nn.functional as F

Arguments = dict[str, Any]


class TorchEntrant:
    """A function of torch calls, called in a loop of Python as its users do."""

    def prepare(self, request: dict[str, Any], inputs: list[Any]) -> dict[str, Any]:
        """Bring the inputs into torch's layouts and choose the function."""
        torch.set_num_threads(request["cores"])
        if request["op"] not in FUNCTIONS:
            raise LookupError(f"no torch equivalent of '{request['op']}' is known")
        tensors = [torch.from_numpy(array) for array in inputs]
        self._call, self._back = FUNCTIONS[request["op"]](request["arguments"], tensors)
        with torch.inference_mode():
            self._output = self._call()
        return {"about": f"torch {torch.__version__}", "tuning_s": None}

    def time(self, calls: int) -> float:
        """Seconds of so many calls in a row."""
        call = self._call
        with torch.inference_mode():
            begin = time.perf_counter()
            for _ in range(calls):
                call()
            return time.perf_counter() - begin

    def output(self) -> Any:
        """The first output, channels last."""
        return self._back(self._output).contiguous().numpy()


Made = tuple[Callable[[], Any], Callable[[Any], Any]]
"""The function to call, and what brings its result into the operator's layout."""


def _same(x: Any) -> Any:
    return x


def _channels_first(x: Any) -> Any:
    """A view of channels-last data as torch sees it; torch keeps computing channels last."""
    return x.movedim(-1, 1)


def _channels_last(x: Any) -> Any:
    return x.movedim(1, -1)


def _format(rank: int) -> Any:
    formats = {2: torch.channels_last, 3: torch.channels_last_3d}
    return formats.get(rank, torch.contiguous_format)


def _kernel(w: Any) -> Any:
    """``w[taps..., ci, co]`` as torch's ``[co, ci, taps...]`` in the format it computes in."""
    turned = w.movedim(-1, 0).movedim(-1, 1)
    return turned.contiguous(memory_format=_format(w.ndim - 2))


def _conv(a: Arguments, tensors: list[Any]) -> Made:
    x, w = _channels_first(tensors[0]), _kernel(tensors[1])
    conv = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[w.ndim - 2]
    moves = (a.get("s", 1), a.get("p", 0), a.get("dilation", 1), a.get("groups", 1))
    return lambda: conv(x, w, None, *moves), _channels_last


def _depthwise(a: Arguments, tensors: list[Any]) -> Made:
    x, w = _channels_first(tensors[0]), tensors[1].permute(2, 0, 1)[:, None]
    w = w.contiguous(memory_format=torch.channels_last)
    moves = (a.get("s", 1), a.get("p", 0), 1, a["c"])
    return lambda: F.conv2d(x, w, None, *moves), _channels_last


def _transposed(a: Arguments, tensors: list[Any]) -> Made:
    x = _channels_first(tensors[0])
    w = tensors[1].permute(2, 3, 0, 1).contiguous(memory_format=torch.channels_last)
    return lambda: F.conv_transpose2d(x, w, None, a.get("s", 1), a.get("p", 0)), _channels_last


def _conv_bias_relu(a: Arguments, tensors: list[Any]) -> Made:
    x, w, bias = _channels_first(tensors[0]), _kernel(tensors[1]), tensors[2]
    scale, shift = (t.view(1, -1, 1, 1) for t in tensors[3:5])
    moves = (a.get("s", 1), a.get("p", 0))
    return lambda: torch.relu(F.conv2d(x, w, bias, *moves) * scale + shift), _channels_last


def _dense(a: Arguments, tensors: list[Any]) -> Made:
    # torch keeps weights as [n, k]; its users prepare them so once.
    x, w = tensors[0], tensors[1].T.contiguous()
    bias = tensors[2] if a.get("bias", True) else None
    activations = {None: _same, "relu": torch.relu, "gelu": F.gelu}
    activate = activations[a.get("activation")]
    return lambda: activate(F.linear(x, w, bias)), _same


def _batch_matmul(a: Arguments, tensors: list[Any]) -> Made:
    x, y = tensors
    return lambda: torch.matmul(x, y), _same


def _transpose_batch_matmul(a: Arguments, tensors: list[Any]) -> Made:
    q, v = tensors
    return lambda: torch.matmul(q.permute(0, 2, 1, 3), v.permute(0, 2, 3, 1)), _same


def _attention_scores(a: Arguments, tensors: list[Any]) -> Made:
    q, k = tensors
    return lambda: torch.matmul(q, k.transpose(1, 2)), _same


def _norm(a: Arguments, tensors: list[Any]) -> Made:
    (x,) = tensors
    return lambda: torch.linalg.vector_norm(x, dim=(1, 2)), _same


def _softmax(a: Arguments, tensors: list[Any]) -> Made:
    (x,) = tensors
    return lambda: torch.softmax(x, -1), _same


FUNCTIONS: dict[str, Callable[[Arguments, list[Any]], Made]] = {
    "attention_scores": _attention_scores,
    "batch_matmul": _batch_matmul,
    "conv1d": _conv,
    "conv2d": _conv,
    "conv2d_bias_relu": _conv_bias_relu,
    "conv2d_transpose": _transposed,
    "conv3d": _conv,
    "dense": _dense,
    "depthwise_conv2d": _depthwise,
    "matmul": _batch_matmul,
    "norm": _norm,
    "softmax": _softmax,
    "transpose_batch_matmul": _transpose_batch_matmul,
}


if __name__ == "__main__":
    serve.serve(TorchEntrant())
