"""Tensor instructions: called with fragments in registers, written out where a target has none."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from metasched import ops
from metasched.errors import CodegenError
from metasched.ir.reference import evaluate
from metasched.ir.stmt import Program
from metasched.lower.gpu.pipeline import lower_gpu
from metasched.target import Target
from metasched.testing.equivalence import check_equivalent, random_inputs
from metasched.testing.gpu_simulator import barriers, simulate
from tests.core.codegen.gpu_running import check_cuda, needs_nvcc, source
from tests.core.codegen.tensor_core import matmul


@cache
def product() -> Program:
    return matmul(64, 32, 64)


def test_a_tensorized_program_computes_the_same() -> None:
    check_equivalent(ops.matmul(m=64, n=32, k=64, dtype="float16", acc_dtype="float32"), product())


def test_fragments_are_what_one_thread_holds(golden: Callable[[str], None]) -> None:
    text = source(product(), "cuda:sm_90").text
    assert "float c_wmma_accumulator[16];" in text
    golden(text)


def test_written_out_it_runs_in_shared_memory_with_as_many_barriers() -> None:
    inputs = random_inputs(product(), seed=0)
    lowered = lower_gpu(product(), Target("opencl"))
    report = simulate(product(), lowered, inputs)
    assert report.problems == []
    np.testing.assert_array_equal(report.outputs["c"], evaluate(product(), inputs)["c"])
    (called,) = lower_gpu(product(), Target("cuda:sm_90")).kernels
    assert barriers(called) == 2


def test_a_missing_feature_is_named() -> None:
    with pytest.raises(CodegenError, match="procedure 'test_mma' needs mma_m16n8k16_f16"):
        lower_gpu(product(), Target("cuda:sm_75"))


@needs_nvcc
def test_compiles_to_tensor_instructions(tmp_path: Path) -> None:
    check_cuda(product(), tmp_path, "sm_80")
