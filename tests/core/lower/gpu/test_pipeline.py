"""Programs to kernels, and what is refused."""

from __future__ import annotations

import pytest

from metasched import ops
from metasched.errors import CodegenError
from metasched.lower import GpuLowered, Lowered, lower
from metasched.lower.gpu.pipeline import lower_gpu
from metasched.schedule.schedule import Schedule
from metasched.target import Target
from tests.core.codegen.gpu_programs import matmul

CUDA = Target("cuda:sm_90")


def test_a_nest_without_a_bound_loop_is_refused() -> None:
    with pytest.raises(CodegenError, match="block 'c' has no thread binding"):
        lower_gpu(ops.matmul(m=8, n=8, k=8), CUDA)


def test_a_bound_loop_under_a_serial_one_is_refused() -> None:
    schedule = Schedule(ops.relu(m=8, n=8), seed=0)
    _, columns = schedule.get_loops(schedule.get_block("o"))
    schedule.bind(columns, "threadIdx.x")
    with pytest.raises(CodegenError, match="loop 'i' is around loop 'j', which is bound"):
        lower_gpu(schedule.program, CUDA)


def test_a_parallel_loop_is_refused() -> None:
    schedule = Schedule(ops.relu(m=8, n=8), seed=0)
    rows, columns = schedule.get_loops(schedule.get_block("o"))
    schedule.bind(rows, "blockIdx.x")
    schedule.parallel(columns)
    with pytest.raises(CodegenError, match="loop 'j' is parallel, which a GPU does not have"):
        lower_gpu(schedule.program, CUDA)


def test_a_shared_buffer_of_several_kernels_is_refused() -> None:
    schedule = Schedule(ops.add_relu(m=8, n=8), seed=0)
    schedule.set_scope(schedule.get_block("t"), 0, "shared")
    for name in ("t", "o"):
        schedule.bind(schedule.get_loops(schedule.get_block(name))[0], "blockIdx.x")
    with pytest.raises(
        CodegenError, match="'t_shared' lives in 'shared' memory, but several kernels"
    ):
        lower_gpu(schedule.program, CUDA)


def test_shared_memory_holds_the_tiles_of_one_step() -> None:
    (kernel,) = lower_gpu(matmul(64, 64, 64), CUDA).kernels
    sizes = {b.name: str(b.shape[0]) for b in kernel.shared}
    assert sizes == {"a_shared": str(32 * 16), "b_shared": str(16 * 32)}
    assert kernel.threads == 64


def test_the_kind_of_target_decides() -> None:
    assert isinstance(lower(ops.matmul(m=8, n=8, k=8), Target("cpu")), Lowered)
    assert isinstance(lower(matmul(64, 64, 64), CUDA), GpuLowered)
