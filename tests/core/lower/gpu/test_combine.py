"""Reductions that threads share: results, barriers, and the exchange within warps."""

from __future__ import annotations

import pytest

from metasched import ops
from metasched.errors import CodegenError
from metasched.lower.gpu.pipeline import lower_gpu
from metasched.schedule.schedule import Schedule
from metasched.target import Target
from tests.core.codegen.gpu_programs import row_sums
from tests.core.codegen.gpu_running import check_opencl, source
from tests.core.lower.gpu.test_barriers import check_barriers

CUDA = Target("cuda:sm_90")
OPERATORS = {"sum": ops.reduce_sum, "max": ops.reduce_max, "argmax": ops.argmax}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize(
    ("rows", "threads", "exchanged", "tree"),
    [(1, 32, 0, 6), (4, 8, 0, 4), (1, 64, 1, 7), (2, 12, 4, 4)],
)
def test_results_are_right_with_no_barrier_too_many(
    name: str, rows: int, threads: int, exchanged: int, tree: int
) -> None:
    program = row_sums(OPERATORS[name](m=3, n=70), "o", rows=rows, threads=threads)
    check_barriers(program, exchanged, CUDA)
    check_barriers(program, tree)


@pytest.mark.parametrize("name", OPERATORS)
def test_runs_right_on_opencl(name: str) -> None:
    check_opencl(row_sums(OPERATORS[name](m=5, n=77), "o", rows=2, threads=12))


def test_a_warp_exchanges_registers() -> None:
    program = row_sums(ops.reduce_sum(m=5, n=77), "o", threads=32)
    assert source(program, "cuda:sm_90").text.count("__shfl_xor_sync") == 5
    assert "__shared__" not in source(program, "cuda:sm_90").text
    assert "shfl" not in source(program, "opencl").text


def test_a_decomposed_reduction_is_refused() -> None:
    schedule = Schedule(ops.reduce_sum(m=5, n=64), seed=0)
    block = schedule.get_block("o")
    i, k = schedule.get_loops(block)
    schedule.bind(i, "blockIdx.x")
    schedule.bind(k, "threadIdx.x")
    schedule.decompose_reduction(block, k)
    with pytest.raises(CodegenError, match=r"reduces over threadIdx\.x, but its init is a block"):
        lower_gpu(schedule.program, CUDA)
