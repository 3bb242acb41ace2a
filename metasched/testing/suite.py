"""The operator suite that metasched is judged by: MetaSchedule's, with two layers of BERT.

All float32, shapes as published. `small` gives the same operators at sizes a test can interpret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from metasched import ops
from metasched.analysis.flops import flops, traffic
from metasched.errors import UsageError, suggest
from metasched.ir.stmt import Program

Case: TypeAlias = tuple[str, Mapping[str, int | bool | str]]
"""Name of an operator and its arguments."""

_IMAGE: Final = {"h": 224, "w": 224, "ci": 3, "co": 64, "k": 7, "s": 2, "p": 3}

SUITE: Final[dict[str, Case]] = {
    "GMM-128": ("batch_matmul", {"b": 1, "m": 128, "n": 128, "k": 128}),
    "GMM-512": ("batch_matmul", {"b": 1, "m": 512, "n": 512, "k": 512}),
    "GMM-1024": ("batch_matmul", {"b": 1, "m": 1024, "n": 1024, "k": 1024}),
    "C1D": ("conv1d", {"l": 256, "ci": 64, "co": 128, "k": 3, "s": 2, "p": 1}),
    "C2D": ("conv2d", _IMAGE),
    "C3D": ("conv3d", {"d": 16, **_IMAGE}),
    "DEP": ("depthwise_conv2d", {"h": 112, "w": 112, "c": 32, "k": 3, "s": 1, "p": 1}),
    "DIL": ("conv2d", {**_IMAGE, "dilation": 2}),
    "GRP": (
        "conv2d",
        {"h": 56, "w": 56, "ci": 64, "co": 128, "k": 3, "s": 2, "p": 1, "groups": 4},
    ),
    "T2D": ("conv2d_transpose", {"h": 4, "w": 4, "ci": 512, "co": 256, "k": 4, "s": 2, "p": 1}),
    "CBR": ("conv2d_bias_relu", _IMAGE),
    "TBG": ("transpose_batch_matmul", {"b": 1, "l": 128, "h": 12, "d": 64}),
    "NRM": ("norm", {"b": 1, "m": 256, "n": 256}),
    "SFM": ("softmax", {"m": 256, "n": 256}),
    "DENSE": ("dense", {"m": 128, "n": 3072, "k": 768, "bias": True, "activation": "relu"}),
    "QKT": ("attention_scores", {"h": 12, "l": 128, "d": 64}),
}
"""Published shapes by name."""

SMALL: Final[dict[str, Mapping[str, int]]] = {
    "GMM-128": {"m": 8, "n": 12, "k": 6},
    "GMM-512": {"m": 16, "n": 8, "k": 10},
    "GMM-1024": {"m": 9, "n": 7, "k": 5},
    "C1D": {"l": 12, "ci": 4, "co": 8},
    "C2D": {"h": 10, "w": 12, "ci": 3, "co": 4, "k": 3, "p": 1},
    "C3D": {"d": 4, "h": 6, "w": 6, "ci": 2, "co": 4, "k": 3, "p": 1},
    "DEP": {"h": 8, "w": 6, "c": 4},
    "DIL": {"h": 10, "w": 12, "ci": 3, "co": 4, "k": 3, "p": 2},
    "GRP": {"h": 8, "w": 8, "ci": 8, "co": 8},
    "T2D": {"h": 3, "w": 4, "ci": 6, "co": 4},
    "CBR": {"h": 10, "w": 12, "ci": 3, "co": 4, "k": 3, "p": 1},
    "TBG": {"l": 8, "h": 3, "d": 4},
    "NRM": {"m": 12, "n": 10},
    "SFM": {"m": 8, "n": 12},
    "DENSE": {"m": 6, "n": 16, "k": 8},
    "QKT": {"h": 3, "l": 8, "d": 4},
}
"""What `small` changes of each case."""


def program(name: str) -> Program:
    """The program of a case at its published shape.

    Raises:
        UsageError: no case has that name.
    """
    op, arguments = _case(name)
    return ops.get(op)(**arguments)


def small(name: str) -> Program:
    """The program of a case at a size that the reference interpreter runs in milliseconds."""
    op, arguments = _case(name)
    return ops.get(op)(**{**arguments, **SMALL[name]})


def nominal(name: str) -> tuple[float, int]:
    """Operations and compulsory bytes of a case, as `flops` and `traffic` count them."""
    described = program(name)
    return flops(described), traffic(described)


def _case(name: str) -> Case:
    if name not in SUITE:
        raise UsageError(f"unknown case '{name}'{suggest(name, SUITE)}")
    return SUITE[name]
