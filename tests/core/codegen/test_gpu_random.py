"""Random GPU schedules: right on OpenCL, without a race by simulation, without a warning from nvcc.

The soak, ``pytest -m soak tests/core/codegen/test_gpu_random.py --hypothesis-profile=soak``, runs
2400 of them.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metasched.errors import CodegenError
from metasched.ir.reference import evaluate
from metasched.ir.stmt import Program
from metasched.lower.gpu.pipeline import lower_gpu
from metasched.target import Target
from metasched.testing.equivalence import random_inputs
from metasched.testing.gpu_kernels import run_program
from metasched.testing.gpu_simulator import simulate
from tests.core.codegen.gpu_random import Drawing, random_gpu_program
from tests.core.codegen.gpu_running import check_cuda, needs_nvcc, source

SEEDS = st.integers(0, 2**32 - 1)
CALM = [HealthCheck.too_slow, HealthCheck.data_too_large]
REFUSALS = ("several kernels use it", "one thread needs", "one block needs", "cannot be pipelined")
"""What a careless schedule asks for and a GPU cannot do."""


def drawn(seed: int) -> tuple[Program, Program] | None:
    """A program and its schedule, None where no GPU can run that."""
    rng = random.Random(seed)
    program = random_gpu_program(rng)
    scheduled = Drawing(program, rng).run().program
    try:
        lower_gpu(scheduled, Target("opencl"))
    except CodegenError as error:
        if not any(reason in str(error) for reason in REFUSALS):
            raise
        return None
    return program, scheduled


def check_outputs(program: Program, scheduled: Program, *, run: bool) -> None:
    inputs = random_inputs(program, seed=0)
    if run:
        got = run_program(scheduled, source(scheduled, "opencl"), inputs)
    else:
        report = simulate(scheduled, lower_gpu(scheduled, Target("opencl")), inputs)
        assert report.problems == [], f"{scheduled}"
        got = report.outputs
    for name, want in evaluate(program, inputs).items():
        found = as_float(program, name, got[name]) if run else got[name]
        np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-4, err_msg=f"{scheduled}")


def as_float(program: Program, name: str, array: np.ndarray) -> np.ndarray:
    """bfloat16 is held as bits."""
    if program.buffer(name).dtype.code != "bfloat":
        return array
    return (array.astype(np.uint32) << 16).view(np.float32)


@given(SEEDS)
@settings(max_examples=4, deadline=None, suppress_health_check=CALM)
def test_no_thread_is_in_the_way_of_another(seed: int) -> None:
    if (found := drawn(seed)) is not None:
        check_outputs(*found, run=False)


@given(SEEDS)
@settings(max_examples=2, deadline=None, suppress_health_check=CALM)
def test_runs_right_on_opencl(seed: int) -> None:
    pytest.importorskip("pyopencl")
    if (found := drawn(seed)) is not None:
        check_outputs(*found, run=True)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(3))
@given(SEEDS)
@settings(deadline=None, suppress_health_check=CALM)
def test_soak(part: int, seed: int) -> None:
    pytest.importorskip("pyopencl")
    if (found := drawn(seed)) is not None:
        check_outputs(*found, run=True)


@needs_nvcc
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_compiles_without_a_warning(seed: int, tmp_path: Path) -> None:
    if (found := drawn(seed)) is not None:
        check_cuda(found[1], tmp_path, "sm_90")
