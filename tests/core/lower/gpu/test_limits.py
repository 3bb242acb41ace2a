"""Kernels that a target cannot launch are refused, whatever OpenCL on a CPU would run."""

from __future__ import annotations

import pytest

from metasched import ops
from metasched.errors import CodegenError
from metasched.lower.gpu.pipeline import lower_gpu
from metasched.schedule.schedule import Schedule
from metasched.target import Target
from tests.core.codegen.gpu_programs import elementwise, matmul

OPENCL = Target("opencl")


def test_threads() -> None:
    with pytest.raises(CodegenError, match="has 2048 threads in a block, and the target 1024"):
        lower_gpu(elementwise(4096, 1, threads=2048), OPENCL)


def test_shared_memory() -> None:
    program = matmul(128, 128, 128, block=(128, 128, 64), tile=(8, 8))
    assert lower_gpu(program, Target("cuda:h100")).kernels[0].threads == 256
    with pytest.raises(CodegenError, match="takes 65536 bytes of shared memory, and a block may"):
        lower_gpu(program, OPENCL)


def test_grid() -> None:
    schedule = Schedule(ops.relu(m=70000, n=2), seed=0)
    rows, columns = schedule.get_loops(schedule.get_block("o"))
    schedule.bind(rows, "blockIdx.y")
    schedule.bind(columns, "threadIdx.x")
    with pytest.raises(CodegenError, match=r"an extent of 70000 on blockIdx\.y, and the target"):
        lower_gpu(schedule.program, OPENCL)
