"""Every input of a lookup's key changes it, and nothing else does."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from metasched.target import Target
from metasched.target.gpu import GpuLimits
from metasched.testing.database_records import make_target

CHANGES: dict[str, Any] = {
    "arch": "riscv64",
    "features": ["other"],
    "cores": 999,
    "vector_bits": 4096,
    "l1_bytes": 12345,
    "l2_bytes": 123456,
    "l3_bytes": 1234567,
    "toolchain": "gcc 99.9.9",
}
LIMITS = [field.name for field in fields(GpuLimits)]
FREE: dict[str, Any] = {"model": "Another CPU", "line_bytes": 123, "vector_registers": 99}


def test_every_field_is_tried() -> None:
    assert set(make_target().to_dict()) == {"kind", *CHANGES, *FREE}


@pytest.mark.parametrize("name", CHANGES)
def test_what_decides_which_kernels_are_good_changes_the_key(name: str) -> None:
    assert make_target(**{name: CHANGES[name]}).key() != make_target().key()


@pytest.mark.parametrize("name", FREE)
def test_what_follows_from_the_rest_does_not(name: str) -> None:
    assert make_target(**{name: FREE[name]}).key() == make_target().key()


@pytest.fixture(scope="module")
def gpu() -> Target:
    return Target("cuda:sm_90")


def of_gpu(target: Target, **changes: Any) -> Target:
    return Target.from_dict({**target.to_dict(), **changes})


@pytest.mark.parametrize("name", CHANGES)
def test_so_it_is_for_a_gpu(gpu: Target, name: str) -> None:
    assert of_gpu(gpu, **{name: CHANGES[name]}).key() != gpu.key()


@pytest.mark.parametrize("name", LIMITS)
def test_every_limit_of_a_gpu_changes_the_key(gpu: Target, name: str) -> None:
    assert gpu.gpu is not None
    old = getattr(gpu.gpu, name)
    new = replace(gpu.gpu, **{name: (1, 2, 3) if isinstance(old, tuple) else old + 1})
    assert of_gpu(gpu, gpu=new.to_dict()).key() != gpu.key()


def test_the_kind_changes_the_key(gpu: Target) -> None:
    assert of_gpu(gpu, kind="opencl").key() != gpu.key()
    assert make_target().key() != gpu.key()
