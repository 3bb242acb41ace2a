"""Loops whose statements overlap: versions of buffers, asynchronous copies, waits and barriers."""

from __future__ import annotations

import pytest

from metasched.errors import CodegenError
from metasched.ir.stmt import Program
from metasched.lower.gpu.pipeline import lower_gpu
from metasched.target import Target
from tests.core.codegen.gpu_programs import matmul
from tests.core.codegen.gpu_running import check_opencl, source
from tests.core.lower.gpu.test_barriers import check_barriers

CUDA = Target("cuda:sm_90")
OPENCL = Target("opencl")


def pipelined(
    stages: tuple[int, ...],
    order: tuple[int, ...] = (0, 1, 2),
    copies: tuple[int, ...] = (),
    size: tuple[int, int, int] = (19, 17, 37),
) -> Program:
    """A product whose copies into shared memory run in their own stages."""
    notes = {"software_pipeline_stage": stages, "software_pipeline_order": order}
    if copies:
        notes["software_pipeline_async_stages"] = copies
    return matmul(*size, block=(16, 16, 8), pipeline=notes)


@pytest.mark.parametrize(
    ("stages", "order", "count"),
    [((0, 0, 1), (0, 1, 2), 1), ((0, 0, 1), (1, 2, 0), 2), ((0, 0, 2), (0, 1, 2), 1)],
)
def test_overlapping_statements_compute_the_same(
    stages: tuple[int, ...], order: tuple[int, ...], count: int
) -> None:
    check_barriers(pipelined(stages, order), count)


@pytest.mark.parametrize(
    ("stages", "order", "count"),
    [((0, 0, 1), (0, 1, 2), 1), ((0, 0, 3), (0, 1, 2), 1), ((0, 0, 2), (1, 2, 0), 2)],
)
def test_asynchronous_copies_are_waited_for(
    stages: tuple[int, ...], order: tuple[int, ...], count: int
) -> None:
    check_barriers(pipelined(stages, order, (0,)), count, CUDA)


def test_a_loop_that_is_shorter_than_the_pipeline() -> None:
    check_barriers(pipelined((0, 0, 3), copies=(0,), size=(16, 16, 16)), 1, CUDA)
    check_barriers(pipelined((0, 0, 3), copies=(0,), size=(16, 16, 8)), 1, CUDA)


def test_one_barrier_for_each_step_of_a_pipeline_of_three_stages() -> None:
    text = source(pipelined((0, 0, 2), copies=(0,), size=(32, 32, 128)), "cuda:sm_90").text
    assert text.count("__syncthreads") == 1
    assert "ms_cp_async_16(&a_shared[(k_0_1 + 2) % 3 * 128 + " in text
    assert text.count("wait_group 1") == text.count("wait_group") == 1
    assert text.count("c_local[i_3 * 4 + j_3] +=") == 1, "the product is written once"


def test_as_many_versions_as_are_alive_together() -> None:
    def versions(program: Program) -> int:
        (kernel,) = lower_gpu(program, OPENCL).kernels
        return {b.name: int(str(b.shape[0])) for b in kernel.shared}["a_shared"] // (16 * 8)

    assert versions(pipelined((0, 0, 1))) == 2
    assert versions(pipelined((0, 0, 2))) == 3
    assert versions(pipelined((0, 0, 1), (1, 2, 0))) == 1


def test_runs_right_on_opencl() -> None:
    check_opencl(pipelined((0, 0, 2)))


@pytest.mark.parametrize(
    ("stages", "order", "wrong"),
    [
        ((0, 1), (0, 1), "loop 'k_0' has 3 statements, but software_pipeline_stage"),
        ((0, 0, 1), (0, 0, 1), "give each a stage from 0 and a place in the order"),
        ((0, 1, 0), (0, 1, 2), "a statement of stage 0 needs 'b_shared', which one of stage 1"),
    ],
)
def test_what_is_no_pipeline_is_refused(
    stages: tuple[int, ...], order: tuple[int, ...], wrong: str
) -> None:
    with pytest.raises(CodegenError, match=wrong):
        lower_gpu(pipelined(stages, order), OPENCL)
