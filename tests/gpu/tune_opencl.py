"""Tunes the operator suite on OpenCL and checks every result; through PoCL it needs no GPU.

    nice -n 19 python tests/gpu/tune_opencl.py [--trials 32] [--cases NAME,...] [--out FILE]

PoCL runs the kernels on the CPU, so the times say nothing; that all of them are right does. Each
candidate is compared with the unscheduled program while it is tuned, and each winner again with
new inputs and poisoned outputs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2] / part) for part in ("", "db", "workers")]

import numpy as np  # noqa: E402

import metasched as ms  # noqa: E402
from metasched.build import Candidate as Payload  # noqa: E402
from metasched.build import build_reference  # noqa: E402
from metasched.measure.check import compare_outputs  # noqa: E402
from metasched.measure.inputs import make_arguments  # noqa: E402
from metasched.measure.kernel import LoadedKernel  # noqa: E402
from metasched.measure.records import MeasureConfig, Status  # noqa: E402
from metasched.target.cache import cache_dir  # noqa: E402

_IMAGE = {"h": 28, "w": 28, "ci": 3, "co": 16, "k": 7, "s": 2, "p": 3}
_F16 = {"dtype": "float16", "acc_dtype": "float32"}
_S8 = {"dtype": "int8", "acc_dtype": "int32"}

CASES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "GMM": ("batch_matmul", {"b": 1, "m": 128, "n": 128, "k": 128}),
    "GMM-odd": ("batch_matmul", {"b": 2, "m": 61, "n": 47, "k": 53}),
    "GMM-f16": ("matmul", {"m": 128, "n": 96, "k": 64, **_F16}),
    "GMM-s8": ("matmul", {"m": 128, "n": 96, "k": 64, **_S8}),
    "C1D": ("conv1d", {"l": 64, "ci": 32, "co": 32, "k": 3, "s": 2, "p": 1}),
    "C2D": ("conv2d", _IMAGE),
    "C3D": ("conv3d", {"d": 4, **_IMAGE, "k": 3, "p": 1}),
    "DEP": ("depthwise_conv2d", {"h": 28, "w": 28, "c": 16, "k": 3, "s": 1, "p": 1}),
    "DIL": ("conv2d", {**_IMAGE, "dilation": 2}),
    "GRP": ("conv2d", {**_IMAGE, "ci": 16, "co": 32, "k": 3, "p": 1, "groups": 4}),
    "T2D": ("conv2d_transpose", {"h": 4, "w": 4, "ci": 64, "co": 32, "k": 4, "s": 2, "p": 1}),
    "CBR": ("conv2d_bias_relu", _IMAGE),
    "TBG": ("transpose_batch_matmul", {"b": 1, "l": 64, "h": 4, "d": 32}),
    "NRM": ("norm", {"b": 2, "m": 128, "n": 96}),
    "SFM": ("softmax", {"m": 64, "n": 256}),
    "LNM": ("layer_norm", {"m": 33, "n": 257}),
    "DENSE": ("dense", {"m": 32, "n": 192, "k": 96, "bias": True, "activation": "relu"}),
    "QKT": ("attention_scores", {"h": 4, "l": 64, "d": 32}),
}
"""The suite at sizes that a CPU runs in milliseconds."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--target", default="opencl")
    parser.add_argument("--out", type=Path, default=Path("tune-opencl.json"))
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in options.cases.split(","):
        row = tune_case(name, ms.Target(options.target), options.trials)
        rows.append(row)
        options.out.write_text(json.dumps(rows, indent=1))
        shown = (f"{key}={value}" for key, value in row.items() if key != "failed")
        print("  ".join(shown), flush=True)
    wrong = [row["case"] for row in rows if not row["right"]]
    print(f"{sum(row['measured'] for row in rows)} kernels measured; not right: {wrong or 'none'}")
    return bool(wrong)


def tune_case(name: str, target: ms.Target, trials: int) -> dict[str, Any]:
    """Tune one case, and check what was served and what was measured."""
    op, arguments = CASES[name]
    program = ms.ops.get(op)(**arguments)
    began = time.monotonic()
    config = MeasureConfig(max_samples=3, min_samples=2, max_total_s=0.02, run_timeout_s=60.0)
    with ms.open_database("memory:") as database:
        result = ms.tune(program, target=target, trials=trials, database=database, measure=config)
        records = tuple(database.records())
        kernel = ms.compile(program, target=target, database=database)
    problem = wrong_with(kernel, seed=99)
    measured = [record for record in records if record.status is Status.OK]
    failed = [r for r in records if r.status not in (Status.OK, Status.REJECTED)]
    return {
        "case": name,
        "trials": result.trials,
        "measured": len(measured),
        "max_error": max(float(record.evidence["max_error"] or 0.0) for record in measured),
        "failures": dict(result.failures),
        "reasons": dict(list(result.reasons.items())[:3]),
        "default_us": round(1e6 * (result.baseline_s or 0.0), 1),
        "best_us": round(1e6 * (result.best_s or 0.0), 1),
        "seconds": round(time.monotonic() - began, 1),
        "problem": problem,
        "failed": [record.trace for record in failed],
        "right": not problem and not failed and kernel.record is not None,
    }


def wrong_with(kernel: ms.Kernel, seed: int) -> str:
    """What is wrong with a kernel's outputs on new inputs, or an empty text."""
    payload = Payload(str(kernel.program), None, (), kernel.target)
    reference = build_reference(payload, str(cache_dir())).artefact
    made = [guarded.array for guarded in make_arguments(reference.args, seed)]
    LoadedKernel(reference).call(made)
    outputs = [n for n, arg in enumerate(reference.args) if arg.is_output]
    again = [guarded.array for guarded in make_arguments(reference.args, seed)]
    inputs = [array for n, array in enumerate(again) if n not in outputs]
    kernel(*inputs, out=[again[n] for n in outputs])
    specs = [reference.args[n] for n in outputs]
    got, want = ([np.asarray(arrays[n]) for n in outputs] for arrays in (again, made))
    return compare_outputs(specs, got, want).problem


if __name__ == "__main__":
    raise SystemExit(main())
