"""The fields of a GPU target: from the device that is here, else from what is known by name."""

from __future__ import annotations

from typing import Any

from metasched.errors import UsageError
from metasched.target.cuda_device import cuda_devices, missing_device
from metasched.target.cuda_toolchain import describe_cuda
from metasched.target.gpu import (
    CUDA_MODELS,
    OPENCL_LIMITS,
    GpuLimits,
    GpuModel,
    cuda_features,
    gpu_models,
)
from metasched.target.opencl_device import ANY_DEVICE, describe_opencl, find_opencl

_LOADED_BITS = 128
"""What a thread of any GPU loads at once."""


def cuda_facts(name: str) -> dict[str, Any]:
    """Return the fields of ``cuda:NAME``; without a name, of the first device here.

    Raises:
        UsageError: no such architecture is known, or there is no name and no device.
    """
    here = cuda_devices()
    if not name and not here:
        raise UsageError(
            f"target 'cuda' means the GPU of this machine, but there is {missing_device()}; name "
            "an architecture to build for, such as 'cuda:sm_90'"
        )
    model = _here(name, here) or gpu_models(name)
    features = cuda_features(model.arch)
    return _fields(model.arch, model.model, features, model.limits, describe_cuda())


def opencl_facts(name: str) -> dict[str, Any]:
    """Return the fields of ``opencl:NAME``; without a name, of a GPU of middling limits.

    Raises:
        DeviceError: there is no device of that name.
    """
    if name in ("", ANY_DEVICE):
        return _fields(ANY_DEVICE, "any GPU", (), OPENCL_LIMITS, describe_opencl())
    model, features, limits = find_opencl(name)
    return _fields(name, model, features, limits, describe_opencl())


def _here(name: str, devices: tuple[GpuModel, ...]) -> GpuModel | None:
    """The device that a name means, or None; code for ``sm_90`` also runs where there is 'a'."""
    for device in devices:
        if not name:
            return device
        if name not in CUDA_MODELS and device.arch.rstrip("a") == name.rstrip("a"):
            return GpuModel(name, device.model, device.limits)
    return None


def _fields(
    arch: str, model: str, features: tuple[str, ...], limits: GpuLimits, toolchain: str
) -> dict[str, Any]:
    return dict(
        arch=arch,
        model=model,
        features=features,
        cores=limits.multiprocessors,
        vector_bits=_LOADED_BITS,
        vector_registers=limits.registers_per_thread,
        l1_bytes=limits.shared_bytes_per_multiprocessor,
        l2_bytes=limits.l2_bytes,
        l3_bytes=limits.l2_bytes,
        line_bytes=128,
        toolchain=toolchain,
        gpu=limits,
    )
