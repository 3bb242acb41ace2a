from __future__ import annotations

import ctypes
import json
import pickle
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metasched.errors import UsageError
from metasched.target import GpuLimits, Target, cuda_device, gpu_facts
from metasched.target.cuda_device import cuda_devices
from metasched.target.gpu import CUDA_MODELS, GpuModel, capability, cuda_features, gpu_models


@pytest.fixture
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_facts, "cuda_devices", lambda: ())


@pytest.mark.usefixtures("no_device")
@pytest.mark.parametrize(
    ("spec", "arch", "shared", "multiprocessors"),
    [
        ("cuda:sm_80", "sm_80", 163 << 10, 108),
        ("cuda:sm_86", "sm_86", 99 << 10, 84),
        ("cuda:sm_89", "sm_89", 99 << 10, 142),
        ("cuda:sm_90", "sm_90", 227 << 10, 132),
        ("cuda:sm_90a", "sm_90a", 227 << 10, 132),
        ("cuda:h200", "sm_90a", 227 << 10, 132),
        ("cuda:t4", "sm_75", 64 << 10, 40),
        ("opencl", "any", 48 << 10, 32),
    ],
)
def test_targets_without_a_device(spec: str, arch: str, shared: int, multiprocessors: int) -> None:
    target = Target(spec)
    assert target.kind == spec.partition(":")[0]
    assert target.arch == arch
    assert target.gpu is not None
    assert target.gpu.shared_bytes_optin == shared
    assert target.gpu.shared_bytes_per_block == 48 << 10
    assert target.gpu.max_threads_per_block == 1024
    assert target.cores == target.gpu.multiprocessors == multiprocessors
    assert Target.from_dict(json.loads(json.dumps(target.to_dict()))) == target
    assert replace(target) == target
    assert pickle.loads(pickle.dumps(target)).key() == target.key()


@pytest.mark.usefixtures("no_device")
def test_limits_can_be_overridden_and_are_in_the_key() -> None:
    target = Target("cuda:sm_90")
    assert target.gpu is not None
    fewer = Target("cuda:sm_90", gpu=replace(target.gpu, multiprocessors=114))
    assert fewer.cores == 114
    assert fewer.key() != target.key()
    assert Target("cuda:sm_90", model="another name").key() == target.key()
    assert len({Target(f"cuda:sm_{n}").key() for n in ("80", "86", "89", "90", "90a")}) == 5


@pytest.mark.usefixtures("no_device")
def test_a_cpu_has_no_limits_of_a_gpu() -> None:
    assert Target("cpu").gpu is None
    assert "gpu" not in Target("cpu").to_dict()
    with pytest.raises(UsageError, match="no target of kind 'cpu' has gpu="):
        Target("cpu", gpu=GpuLimits())


@pytest.mark.usefixtures("no_device")
def test_cuda_without_a_device_asks_for_an_architecture() -> None:
    with pytest.raises(UsageError, match=r"the GPU of this machine, but there is .*'cuda:sm_90'"):
        Target("cuda")


def test_a_device_here_says_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = replace(CUDA_MODELS["h100"].limits, multiprocessors=114)
    found = (GpuModel("sm_90a", "NVIDIA H100 PCIe", limits),)
    monkeypatch.setattr(gpu_facts, "cuda_devices", lambda: found)
    assert Target("cuda").arch == "sm_90a"
    assert Target("cuda").model == Target("cuda:sm_90").model == "NVIDIA H100 PCIe"
    assert Target("cuda:sm_90").cores == 114
    assert Target("cuda:sm_90").arch == "sm_90"
    assert Target("cuda:sm_80").cores == Target("cuda:a100").cores == 108
    assert Target("cuda:h200").cores == 132


def test_features_follow_the_capability() -> None:
    assert "mma_m16n8k16_bf16" not in cuda_features("sm_75")
    assert "mma_m16n8k16_bf16" in cuda_features("sm_80")
    assert "wgmma" not in cuda_features("sm_90")
    assert set(cuda_features("sm_90a")) - set(cuda_features("sm_90")) == {"wgmma"}
    assert capability("sm_120a") == 120
    with pytest.raises(UsageError, match="'90' is no CUDA architecture"):
        capability("90")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"warp_size": 0}, "warp_size is 0, expected a number from 1"),
        ({"warp_size": True}, "warp_size is True, expected a number"),
        ({"max_block": (1, 2)}, "max_block is \\(1, 2\\), expected three numbers"),
        ({"max_block": 3}, "max_block is 3, expected three numbers"),
        ({"l2_bytes": (1, 2, 3)}, "l2_bytes is \\(1, 2, 3\\), expected a number"),
    ],
)
def test_bad_limits_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        GpuLimits(**change)


def test_bad_stored_limits_are_refused() -> None:
    data = GpuLimits().to_dict()
    with pytest.raises(UsageError, match="has no limit 'warp'; did you mean 'warp_size'"):
        GpuLimits.from_dict({**data, "warp": 1})
    with pytest.raises(UsageError, match="are named values, got list"):
        GpuLimits.from_dict([])
    del data["l2_bytes"]
    with pytest.raises(UsageError, match="need 'l2_bytes'"):
        GpuLimits.from_dict(data)


def test_presets_name_a_known_architecture() -> None:
    for name, model in CUDA_MODELS.items():
        assert gpu_models(name) == model
        assert gpu_models(model.arch).arch == model.arch
        assert model.limits.shared_bytes_optin <= model.limits.shared_bytes_per_multiprocessor


_DRIVER = """
int cuInit(unsigned flags) { return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int number) { *device = number; return 0; }
int cuDeviceGetName(char *name, int size, int device) { 
    __builtin_strcpy(name, "Made up");
    return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    static const int known[][2] = {{1, 1024}, {2, 1024}, {3, 1024}, {4, 64}, {5, 2147483647},
        {6, 65535}, {7, 65535}, {8, 49152}, {10, 32}, {12, 65536}, {13, 1980000}, {16, 132},
        {36, 2619000}, {37, 5120}, {38, 52428800}, {39, 2048}, {75, 9}, {76, 0}, {81, 233472},
        {82, 65536}, {97, 232448}};
    for (unsigned i = 0; i < sizeof known / sizeof *known; ++i)
        if (known[i][0] == attribute) { *value = known[i][1]; return 0; }
    return 1;
}
"""


@pytest.mark.cc
def test_a_driver_is_asked_for_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "libcuda.so.1"
    command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(path)]
    subprocess.run(command, input=_DRIVER.encode(), check=True)
    monkeypatch.setattr(cuda_device, "_driver", lambda: ctypes.CDLL(str(path)))
    cuda_devices.cache_clear()
    (found,) = cuda_devices()
    cuda_devices.cache_clear()
    assert (found.arch, found.model) == ("sm_90a", "Made up")
    # What this driver does not know keeps its default.
    assert found.limits == replace(CUDA_MODELS["h100"].limits, memory_bytes_per_s=3352320000000,
                                   max_blocks_per_multiprocessor=16)  # fmt: skip
