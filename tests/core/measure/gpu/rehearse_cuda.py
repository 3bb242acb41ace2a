"""Runs kernels on the driver of `fake_cuda` and prints what became of them as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from metasched.measure.gpu.arrays import DeviceArray
from metasched.measure.gpu.device import open_device
from metasched.measure.gpu.kernel import CalledGpuKernel
from metasched.measure.gpu.plan import Launch, LaunchPlan
from metasched.measure.local import LocalWorkers
from metasched.measure.records import Artefact, MeasureConfig, RunRequest, RunResult
from metasched.target import Target
from tests.core.measure import kernels as c_kernels
from tests.core.measure.gpu.kernels import ARGS, N
from tests.core.measure.test_local import wait_for

CONFIG = MeasureConfig(sample_s=4e-2, max_samples=4, run_timeout_s=20.0)


def artefact(
    folder: Path, name: str, kernel: str, code: bytes = b"\x7fELF", **how: Any
) -> Artefact:
    """A file that the driver takes for a cubin, and its plan."""
    path = folder / f"{name.replace(' ', '_')}.cubin"
    launch = Launch(kernel, (16, 1, 1), how.get("block", (64, 1, 1)), how.get("shared", 0), (0, 1))
    plan = LaunchPlan("cuda", "sm_90", ARGS, (), (launch,))
    path.write_bytes(code)
    path.with_suffix(".json").write_text(plan.to_json(path.name))
    return Artefact(str(path), kernel, name, ARGS, 0, float(N))


def main() -> None:
    """Run everything and print one JSON object."""
    folder = Path(sys.argv[1])
    reference = c_kernels.compile_kernel(folder, c_kernels.DOUBLE)
    quick = replace(CONFIG, run_timeout_s=2.0)
    wanted = {
        "right": (artefact(folder, "right", "double_it"), CONFIG),
        "much shared memory": (artefact(folder, "much", "double_it", shared=200_000), CONFIG),
        "rotated": (artefact(folder, "rotated", "double_it"), replace(CONFIG, rotate=True)),
        "flushed": (artefact(folder, "flushed", "double_it"), replace(CONFIG, flush=True)),
        "crash": (artefact(folder, "crash", "crash_it"), CONFIG),
        "after a crash": (artefact(folder, "after_crash", "double_it"), CONFIG),
        "hang": (artefact(folder, "hang", "hang_it"), quick),
        "after a hang": (artefact(folder, "after_hang", "double_it"), CONFIG),
        "too many threads": (artefact(folder, "many", "double_it", block=(2048, 1, 1)), CONFIG),
        "no such kernel": (artefact(folder, "none", "nothing"), CONFIG),
        "not a cubin": (artefact(folder, "bad", "double_it", b"bad"), CONFIG),
    }
    found: dict[str, Any] = {}
    with LocalWorkers(Target("cuda:sm_90"), builders=1) as workers:
        for number, (name, (made, config)) in enumerate(wanted.items()):
            workers.submit_run(RunRequest(number, made, reference, config=config))
            (result,) = wait_for(workers)
            assert isinstance(result, RunResult)
            found[name] = {
                "status": result.status,
                "message": result.message,
                "samples_s": result.samples_s,
                "max_error": result.max_error,
            }
    found["called"] = called(wanted["right"][0])
    loader = Path(__file__).parents[4] / "docs" / "examples" / "run_exported.py"
    plan = str(folder / "right.json")
    done = subprocess.run([sys.executable, str(loader), plan], capture_output=True, check=True)
    found["exported"] = done.stdout.decode().strip()
    inputs = (8 * np.random.default_rng(0).random(N)).astype(np.float32)
    found["sum"] = float((2 * inputs).astype(np.float64).sum())
    print(json.dumps(found))


def called(made: Artefact) -> dict[str, Any]:
    """Calls with arrays of the host and of the device."""
    kernel = CalledGpuKernel(made)
    device = open_device("cuda", "sm_90")
    a, b = np.arange(N, dtype=np.float32), np.zeros(N, np.float32)
    kernel.call([a, b])
    there, out = DeviceArray(device, ARGS[0]), DeviceArray(device, ARGS[1])
    device.write(there._memory, a)
    kernel.call([there, out])
    again = kernel.new_output(ARGS[1], [there])
    kernel.bound([there, again])()
    return {
        "host": bool((b == 2 * a).all()),
        "device": bool((out.numpy() == 2 * a).all()),
        "bound": bool((again.numpy() == 2 * a).all()),
        "time_s": float(np.median(kernel.time([there, out], CONFIG))),
    }


if __name__ == "__main__":
    main()
