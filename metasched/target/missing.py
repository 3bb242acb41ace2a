"""What is missing to run kernels for a target on this machine, told before anything starts."""

from __future__ import annotations

from importlib.util import find_spec

from metasched.errors import DeviceError
from metasched.target.cuda_device import CUDA_EXTRA, cuda_devices, missing_device
from metasched.target.gpu import capability
from metasched.target.opencl_device import choose_opencl
from metasched.target.target import Target


def check_device(target: Target) -> None:
    """Refuse a target whose kernels cannot run here; a CPU target is left to its compiler.

    Raises:
        DeviceError: a device, its driver or a package is missing; the message says what to do.
    """
    if target.kind == "opencl":
        choose_opencl(target.arch)
    if target.kind == "cuda":
        suitable_device(target.arch)
        if find_spec("pycuda") is None:
            raise DeviceError(f"CUDA kernels run through pycuda, which is missing; {CUDA_EXTRA}")


def suitable_device(arch: str) -> int:
    """Return the number of the first CUDA device that runs code for an architecture.

    Raises:
        DeviceError: there is none.
    """
    devices = cuda_devices()
    for number, device in enumerate(devices):
        if _runs(arch, device.arch):
            return number
    found = ", ".join(f"{device.model} ({device.arch})" for device in devices)
    reason = f"there is {found}" if found else missing_device()
    raise DeviceError(f"kernels for {arch} can be built but not run here: {reason}")


def _runs(arch: str, device: str) -> bool:
    """Whether a device runs machine code: of its own generation, and of no later member of it."""
    code, here = capability(arch), capability(device)
    if arch.endswith("a"):
        return code == here
    return code // 10 == here // 10 and code <= here
