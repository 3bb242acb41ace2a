"""GPU kernels as text: golden, compiled by nvcc, run on OpenCL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from metasched import ops
from metasched.schedule.schedule import Schedule
from tests.core.codegen.gpu_programs import elementwise, matmul
from tests.core.codegen.gpu_running import check_cuda, check_opencl, needs_nvcc, source


@pytest.mark.parametrize("target", ["cuda:sm_90", "opencl"])
def test_elementwise(target: str, golden: Callable[[str], None]) -> None:
    golden(source(elementwise(lanes=4), target).text)


@pytest.mark.parametrize("target", ["cuda:sm_90", "opencl"])
def test_matmul(target: str, golden: Callable[[str], None]) -> None:
    golden(source(matmul(64, 64, 32, virtual=(2, 2), tile=(2, 2), pad=16), target).text)


def test_what_is_first_set_under_a_condition_runs_right_on_opencl() -> None:
    schedule = Schedule(ops.relu(m=1, n=1), seed=0)
    copy = schedule.cache_write(schedule.get_block("o"), 0, "local")
    shared = schedule.cache_read(schedule.get_block("o"), 0, "shared")
    rows, columns = schedule.get_loops(schedule.get_block("o"))
    outer, _ = schedule.split(rows, [None, 1])
    schedule.split(columns, [None, 3])
    schedule.bind(outer, "blockIdx.x")
    schedule.compute_at(shared, outer)
    schedule.reverse_compute_at(copy, outer)
    assert "< 1)" in check_opencl(schedule.program).text


def test_launches_say_the_extents_and_which_pointers_a_kernel_takes() -> None:
    text = source(elementwise(1000, 4, lanes=4), "opencl")
    (launch,) = text.launches
    assert (launch.grid, launch.block, launch.args) == ((16, 1, 1), (64, 1, 1), (0, 1, 2))
    assert text.buffers == ()


def test_what_one_kernel_leaves_to_the_next_is_a_buffer_of_the_caller() -> None:
    schedule = Schedule(ops.add_relu(m=8, n=32), seed=0)
    for name in ("t", "o"):
        rows, columns = schedule.get_loops(schedule.get_block(name))
        schedule.bind(rows, "blockIdx.x")
        schedule.bind(columns, "threadIdx.x")
    text = check_opencl(schedule.program)
    assert text.buffers == (8 * 32 * 4,)
    assert [launch.args for launch in text.launches] == [(0, 1, 3), (2, 3)]


def test_more_than_48_kib_are_asked_for_at_launch() -> None:
    program = matmul(128, 128, 128, block=(128, 128, 64), tile=(8, 8))
    (launch,) = source(program, "cuda:sm_90").launches
    assert launch.shared_bytes == 2 * 128 * 64 * 4


def test_indices_beyond_31_bits_take_64() -> None:
    program = elementwise(1 << 20, 1 << 12, lanes=4)
    assert "const long long blockIdx_x" in source(program, "cuda:sm_90").text
    assert "const int blockIdx_x" in source(elementwise(1 << 18, 1 << 12), "cuda:sm_90").text


def test_opencl_stores_float16_that_the_device_lacks() -> None:
    text = source(matmul(32, 32, 32, dtype="float16", acc_dtype="float32"), "opencl").text
    assert "vload_half" in text
    assert "ushort" in text
    assert "cl_khr_fp16" not in text


@pytest.mark.parametrize(
    "program",
    [
        elementwise(1000, 4, lanes=4),
        matmul(67, 61, 53),
        matmul(64, 64, 64, virtual=(2, 2), tile=(2, 2), pad=16),
    ],
    ids=["vectors", "odd", "virtual"],
)
def test_runs_right_on_opencl(program) -> None:
    check_opencl(program)


@needs_nvcc
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_compiles_without_a_warning(dtype: str, tmp_path: Path) -> None:
    acc = "int32" if dtype == "int8" else "float32"
    program = matmul(64, 64, 64, lanes=8, block=(64, 64, 16), dtype=dtype, acc_dtype=acc)
    check_cuda(program, tmp_path, "sm_90")


@needs_nvcc
@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 67])
def test_compiles_for_every_architecture(size: int, tmp_path: Path) -> None:
    check_cuda(matmul(size, size, size), tmp_path, "sm_80", "sm_90", "sm_90a")
