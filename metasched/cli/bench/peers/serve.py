"""The loop that every entrant of a bench runs: JSON requests on stdin, JSON answers on stdout.

The programs in this folder are started by path, some in an interpreter that has no metasched, so
they import each other by bare name and need only the standard library, NumPy and their peer.

Requests:
    {"do": "prepare", ...}            -> {"ok": true, "about": "...", "tuning_s": seconds or null}
    {"do": "time", "calls": k, "warm": w} -> {"ok": true, "seconds": of k calls, after w others}
    {"do": "save", "path": "x.npy"}   -> {"ok": true}
A failure answers {"ok": false, "error": "one line"}. The end of stdin ends the program.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Protocol

import numpy as np


class Entrant(Protocol):
    """One side of a comparison."""

    def prepare(self, request: dict[str, Any], inputs: list[Any]) -> dict[str, Any]:
        """Tune or load the kernel; return ``about`` and ``tuning_s``."""
        ...

    def time(self, calls: int) -> float:
        """Seconds of so many calls in a row."""
        ...

    def output(self) -> Any:
        """The first output of a call on the inputs, in the layout of the operator."""
        ...


def serve(entrant: Entrant) -> None:
    """Answer requests until stdin ends."""
    # Whatever libraries print goes to stderr; answers have the real stdout for themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            answer = {"ok": True, **_answer(entrant, json.loads(line))}
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            answer = {"ok": False, "error": text[:300]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    # Tuners leave threads and pools behind that would only delay the end.
    os._exit(0)


def _answer(entrant: Entrant, request: dict[str, Any]) -> dict[str, Any]:
    if request["do"] == "prepare":
        return entrant.prepare(request, make_inputs(request["inputs"], request["seed"]))
    if request["do"] == "time":
        if request["warm"]:
            entrant.time(request["warm"])
        return {"seconds": entrant.time(request["calls"])}
    np.save(request["path"], entrant.output())
    return {}


def make_inputs(specs: list[dict[str, Any]], seed: int) -> list[Any]:
    """The same inputs in every entrant: numbers from -0.5 to 0.5, one generator for each."""
    arrays: list[Any] = []
    for k, spec in enumerate(specs):
        arrays.append(_aligned(spec["shape"], spec["dtype"]))
        arrays[k][...] = np.random.default_rng([seed, k]).random(spec["shape"]) - 0.5
    return arrays


def _aligned(shape: list[int], dtype: str) -> Any:
    # As TVM and torch make theirs; NumPy aligns to 16 bytes, and vectors that straddle cache lines
    # cost up to half of a kernel's speed.
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, np.uint8)
    begin = -memory.ctypes.data % 64
    return memory[begin : begin + size].view(dtype).reshape(shape)
