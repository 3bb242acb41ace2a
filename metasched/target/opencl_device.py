"""The OpenCL devices of this machine, through pyopencl, which is an extra and loaded when asked.

Kernels are measured on the device that `choose_opencl` returns, in a process of their own.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from metasched.errors import DeviceError
from metasched.target.gpu import OPENCL_LIMITS, GpuLimits

ANY_DEVICE: Final = "any"
"""The architecture of a target that names no device: the first GPU, else the first of all."""

_USED_EXTENSIONS: Final = frozenset({"cl_khr_fp16", "cl_khr_fp64"})

OPENCL_REMEDY: Final = (
    "pip install 'metasched[opencl]' brings pyopencl and PoCL, which runs OpenCL on the CPU"
)


def describe_opencl() -> str:
    """Return name and version of pyopencl, or ``"none"``; loads nothing."""
    try:
        return f"pyopencl {version('pyopencl')}"
    except PackageNotFoundError:
        return "none"


def missing_opencl() -> str:
    """Return why OpenCL kernels cannot run here with the remedy, or an empty text."""
    try:
        choose_opencl(ANY_DEVICE)
    except DeviceError as error:
        return str(error)
    return ""


def load_pyopencl() -> Any:
    """Return the module pyopencl.

    Raises:
        DeviceError: it is not installed, or finds no OpenCL library.
    """
    try:
        return import_module("pyopencl")
    except ImportError as error:
        raise DeviceError(f"OpenCL needs pyopencl ({error}); {OPENCL_REMEDY}") from error


def opencl_devices() -> list[Any]:
    """Return pyopencl's devices of all platforms, GPUs first.

    Raises:
        DeviceError: there is no pyopencl or no platform.
    """
    cl = load_pyopencl()
    try:
        found = [device for platform in cl.get_platforms() for device in platform.get_devices()]
    except cl.Error as error:
        raise DeviceError(f"OpenCL finds no platform ({error}); {OPENCL_REMEDY}") from error
    return sorted(found, key=lambda device: not device.type & cl.device_type.GPU)


def choose_opencl(name: str) -> Any:
    """Return the device that a target's architecture names, see `ANY_DEVICE`.

    Raises:
        DeviceError: there is none.
    """
    devices = opencl_devices()
    wanted = "" if name == ANY_DEVICE else name.lower()
    for device in devices:
        if wanted in device_name(device).lower():
            return device
    known = ", ".join(device_name(device) for device in devices) or "none"
    raise DeviceError(f"no OpenCL device is called '{name}'; there are: {known}")


@lru_cache(maxsize=8)
def find_opencl(name: str) -> tuple[str, tuple[str, ...], GpuLimits]:
    """Return the full name of a device, the extensions of it that code may use, and its limits.

    A device that is no GPU only stands in for one, so it gets the limits of ``Target("opencl")``.

    Raises:
        DeviceError: there is no such device.
    """
    device = choose_opencl(name)
    is_gpu = bool(device.type & load_pyopencl().device_type.GPU)
    offered = tuple(sorted(set(str(device.extensions).split()) & _USED_EXTENSIONS))
    return device_name(device), offered, _limits(device) if is_gpu else OPENCL_LIMITS


def device_name(device: Any) -> str:
    """Return the name of a device with its platform and that one's version."""
    platform = device.platform
    return f"{device.name.strip()} ({platform.name.strip()}, {platform.version.strip()})"


def _limits(device: Any) -> GpuLimits:
    x, y, z = (max(1, min(n, 2**31 - 1)) for n in device.max_work_item_sizes[:3])
    local = int(device.local_mem_size)
    return GpuLimits(
        max_threads_per_block=int(device.max_work_group_size),
        max_block=(int(x), int(y), int(z)),
        max_grid=(2**31 - 1, 2**31 - 1, 2**31 - 1),
        shared_bytes_per_block=local,
        shared_bytes_optin=local,
        shared_bytes_per_multiprocessor=local,
        multiprocessors=int(device.max_compute_units),
        l2_bytes=int(device.global_mem_cache_size) or OPENCL_LIMITS.l2_bytes,
        clock_hz=10**6 * int(device.max_clock_frequency) or OPENCL_LIMITS.clock_hz,
    )
