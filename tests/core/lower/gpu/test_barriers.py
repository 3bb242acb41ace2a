"""Barriers: none missing, none too many, by a simulator that knows nothing of their placing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metasched.ir.reference import evaluate
from metasched.ir.stmt import Program
from metasched.lower.gpu.pipeline import lower_gpu
from metasched.target import Target
from metasched.testing.equivalence import random_inputs
from metasched.testing.gpu_simulator import barriers, simulate, without_barrier
from tests.core.codegen.gpu_programs import elementwise, matmul

OPENCL = Target("opencl")

PROGRAMS = {
    "no exchange": (elementwise(50, 3), 0),
    "whole tiles": (matmul(32, 32, 32, block=(16, 16, 8)), 2),
    "odd sizes": (matmul(19, 17, 13, block=(16, 16, 8)), 2),
    "virtual threads": (matmul(32, 16, 8, block=(16, 16, 4), tile=(2, 2), virtual=(2, 2)), 2),
    "one step": (matmul(16, 16, 8, block=(16, 16, 8)), 1),
    "padded rows": (matmul(32, 32, 32, block=(16, 16, 8), pad=16), 2),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_access_is_in_order_and_in_bounds_and_no_barrier_is_too_many(name: str) -> None:
    program, count = PROGRAMS[name]
    check_barriers(program, count)


def check_barriers(program: Program, count: int, target: Target = OPENCL) -> None:
    """Compare a simulated kernel with the reference, with and without each of its barriers."""
    inputs = random_inputs(program, seed=0)
    lowered = lower_gpu(program, target)
    report = simulate(program, lowered, inputs)
    assert report.problems == []
    for output, want in evaluate(program, inputs).items():
        np.testing.assert_allclose(report.outputs[output], want, rtol=1e-9, atol=1e-9)
    (kernel,) = lowered.kernels
    assert barriers(kernel) == count
    for number in range(count):
        wrong = replace(lowered, kernels=(without_barrier(kernel, number),))
        assert simulate(program, wrong, inputs).problems, f"barrier {number} is not needed"
