"""Values that a thread or a block keeps for itself, and what is refused of them."""

from __future__ import annotations

import pytest

from metasched import ops
from metasched.errors import CodegenError
from metasched.lower.gpu.pipeline import lower_gpu
from metasched.schedule.schedule import Schedule
from metasched.target import Target
from tests.core.codegen.gpu_running import check_opencl

OPENCL = Target("opencl")


def two_stages(scope: str, *, apart: bool) -> Schedule:
    """A row at a time; the second stage in the threads of the first, or in all others, too."""
    schedule = Schedule(ops.add_relu(m=4, n=32), seed=0)
    first, second = schedule.get_block("t"), schedule.get_block("o")
    rows, columns = schedule.get_loops(second)
    schedule.bind(rows, "blockIdx.x")
    if not apart:
        schedule.bind(columns, "threadIdx.x")
    schedule.compute_at(first, rows if apart else columns)
    if apart:
        schedule.bind(schedule.get_loops(first)[-1], "threadIdx.x")
    schedule.set_scope(first, 0, scope)
    return schedule


def test_a_threads_own_value() -> None:
    check_opencl(two_stages("local", apart=False).program)


def test_a_local_value_of_another_thread_is_refused() -> None:
    with pytest.raises(CodegenError, match="'t_local' is 'local', but one thread needs what"):
        lower_gpu(two_stages("local", apart=True).program, OPENCL)


def test_a_shared_value_of_another_thread() -> None:
    check_opencl(two_stages("shared", apart=True).program)


def test_a_global_value_of_the_same_block_has_a_box_of_its_own() -> None:
    text = check_opencl(two_stages("global", apart=True).program)
    assert text.buffers == (4 * 32 * 4,)


def test_a_threads_own_array_is_indexed_alike_by_all_threads() -> None:
    """Tiles that reach over the edge of the result, guarded for all threads but the first."""
    schedule = Schedule(ops.batch_matmul(b=1, m=8, n=4, k=6), seed=0)
    product = schedule.get_block("z")
    result = schedule.cache_write(product, 0, "local")
    batch, i, j, k = schedule.get_loops(product)
    b0, b1, b2 = schedule.split(batch, [None, 3, 3])
    schedule.reorder(b0, i, j, b1, k, b2)
    schedule.bind(i, "blockIdx.x")
    schedule.bind(b1, "threadIdx.y")
    schedule.reverse_compute_at(result, b1)
    (kernel,) = lower_gpu(schedule.program, OPENCL).kernels
    own = [line for line in str(kernel.body).splitlines() if "z_local[" in line]
    assert own
    assert not any("threadIdx" in line.split("z_local[")[1].split("]")[0] for line in own)
    check_opencl(schedule.program)
