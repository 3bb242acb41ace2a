"""The operators: ordinary `metasched.te` code with keyword arguments, one module per family.

Nothing else in the project knows an operator by name. `get` finds one, `names` lists them.
"""

from __future__ import annotations

from metasched.analysis.flops import flops
from metasched.ops.conv import conv1d, conv2d, conv2d_bias_relu, conv3d, depthwise_conv2d
from metasched.ops.conv_transpose import conv2d_transpose
from metasched.ops.dense import dense
from metasched.ops.elementwise import add_relu, gelu, relu, transpose
from metasched.ops.matmul import (
    attention_scores,
    batch_matmul,
    matmul,
    transpose_batch_matmul,
)
from metasched.ops.reduction import argmax, layer_norm, norm, reduce_max, reduce_sum, softmax
from metasched.ops.registry import get, names

__all__ = [
    "add_relu",
    "argmax",
    "attention_scores",
    "batch_matmul",
    "conv1d",
    "conv2d",
    "conv2d_bias_relu",
    "conv2d_transpose",
    "conv3d",
    "dense",
    "depthwise_conv2d",
    "flops",
    "gelu",
    "get",
    "layer_norm",
    "matmul",
    "names",
    "norm",
    "reduce_max",
    "reduce_sum",
    "relu",
    "softmax",
    "transpose",
    "transpose_batch_matmul",
]
