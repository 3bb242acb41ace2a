from __future__ import annotations

from pathlib import Path

import pytest

from metasched.target.intrinsics import GROUPS
from metasched.testing.equivalence import check_equivalent
from tests.core.codegen.gpu_running import check_cuda, check_opencl, needs_nvcc
from tests.core.target.intrinsics.tensor_core_products import tensorized

SMALL = [name for name in GROUPS if GROUPS[name].shape[0] <= 16]
FIRST = ("mma_f16_f32_kn", "mma_s8_s32_kn", "wgmma_f16_f32_kn_128")
"""Those that every run checks."""


def mostly_slow(names: list[str]) -> list[object]:
    return [pytest.param(n, marks=() if n in FIRST else pytest.mark.slow) for n in names]


HOPPER = [name for name in GROUPS if "wgmma" in GROUPS[name].features]


@pytest.mark.parametrize("name", mostly_slow(SMALL))
def test_products_of_a_warp_mean_what_they_replace(name: str) -> None:
    program, schedule = tensorized(name, warps=(2, 1), tiles=(1, 2), steps=2)
    check_equivalent(program, schedule.program)


def test_products_of_four_warps_mean_what_they_replace() -> None:
    program, schedule = tensorized("wgmma_f16_f32_kn_64", warps=(1, 1))
    check_equivalent(program, schedule.program)


def test_without_tensor_cores_a_product_is_plain_code() -> None:
    _, schedule = tensorized("mma_s8_s32_kn", warps=(1, 1))
    check_opencl(schedule.program)


@needs_nvcc
@pytest.mark.parametrize("name", mostly_slow(SMALL))
def test_products_of_a_warp_compile_without_spills(name: str, tmp_path: Path) -> None:
    _, schedule = tensorized(name, tiles=(4, 4), steps=2)
    text = check_cuda(schedule.program, tmp_path, "sm_90").text
    assert "mma.sync.aligned" in text


@needs_nvcc
@pytest.mark.parametrize("name", mostly_slow(HOPPER))
def test_products_of_four_warps_compile_without_spills(name: str, tmp_path: Path) -> None:
    _, schedule = tensorized(name, warps=(2, 1))
    text = check_cuda(schedule.program, tmp_path, "sm_90a").text
    assert "wgmma.mma_async" in text
    assert text.count("fence.proxy.async") == text.count("__syncthreads()")
