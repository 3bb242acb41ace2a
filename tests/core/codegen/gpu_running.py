"""Run and compile GPU kernels in the tests."""

from __future__ import annotations

import os
from pathlib import Path
from shutil import which

import numpy as np
import pytest

from metasched.codegen.gpu import emit_gpu
from metasched.codegen.gpu_source import GpuSource
from metasched.ir.reference import evaluate
from metasched.ir.stmt import Program
from metasched.lower.gpu.pipeline import lower_gpu
from metasched.target import Target
from metasched.testing.equivalence import random_inputs
from metasched.testing.gpu_kernels import compile_cuda, run_program

OPENCL = Target("opencl")
NVCC = which("nvcc", path=os.pathsep.join(("/usr/local/cuda/bin", os.environ.get("PATH", ""))))

needs_nvcc = pytest.mark.skipif(NVCC is None, reason="no nvcc")


def source(program: Program, target: str) -> GpuSource:
    """The text for a target."""
    found = Target(target)
    return emit_gpu(lower_gpu(program, found), found)


def check_opencl(program: Program, *, seed: int = 0, rtol: float = 1e-5) -> GpuSource:
    """Run a program's kernels on OpenCL and compare with the reference interpreter."""
    pytest.importorskip("pyopencl")
    text = source(program, "opencl")
    inputs = random_inputs(program, seed=seed)
    want = evaluate(program, inputs)
    for name, array in run_program(program, text, inputs).items():
        np.testing.assert_allclose(array, want[name], rtol=rtol, atol=rtol, err_msg=text.text)
    return text


def check_cuda(program: Program, folder: Path, *archs: str) -> GpuSource:
    """Compile a program's kernels for some architectures, without a warning."""
    assert NVCC is not None
    text = source(program, f"cuda:{archs[0]}")
    for arch in archs:
        report = compile_cuda(text, folder, arch, nvcc=NVCC)
        assert "0 bytes spill stores" in report
    return text
