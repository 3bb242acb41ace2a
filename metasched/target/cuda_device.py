"""The CUDA devices of this machine, read from the driver without taking a context.

Only the driver's own library is needed. Never raises: without a driver there are no devices.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any, Final

from metasched.target.gpu import GpuLimits, GpuModel

CUDA_EXTRA: Final = (
    "pip install 'metasched[cuda]' brings pycuda, which is built from source and needs a CUDA "
    "toolkit; docs/gpu.md says how to make a wheel of it"
)

_WANTED = {
    "max_threads_per_block": 1,
    "warp_size": 10,
    "shared_bytes_per_block": 8,
    "shared_bytes_optin": 97,
    "shared_bytes_per_multiprocessor": 81,
    "registers_per_block": 12,
    "registers_per_multiprocessor": 82,
    "multiprocessors": 16,
    "max_threads_per_multiprocessor": 39,
    "max_blocks_per_multiprocessor": 106,
    "l2_bytes": 38,
}
"""The numbers of the driver's device attributes, by the limit that they are."""

_BLOCK, _GRID, _MAJOR, _MINOR = (2, 3, 4), (5, 6, 7), 75, 76
_CLOCK_KHZ, _MEMORY_KHZ, _BUS_BITS = 13, 36, 37
_ARCH_SPECIFIC = frozenset({90, 100, 120})
"""Capabilities with instructions of their own, which code asks for with an 'a'."""


@lru_cache(maxsize=1)
def cuda_devices() -> tuple[GpuModel, ...]:
    """Return the devices in the driver's order; none without a driver or a device."""
    driver = _driver()
    count = ctypes.c_int(0)
    if driver is None or driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    return tuple(_model(driver, number) for number in range(count.value))


def missing_device() -> str:
    """Return why there is no CUDA device, or an empty text."""
    if _driver() is None:
        return "no CUDA driver (libcuda.so.1) on this machine"
    return "" if cuda_devices() else "the CUDA driver finds no device"


@lru_cache(maxsize=1)
def _driver() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None


def _model(driver: ctypes.CDLL, number: int) -> GpuModel:
    device = ctypes.c_int(0)
    driver.cuDeviceGet(ctypes.byref(device), number)

    def ask(attribute: int) -> int:
        value = ctypes.c_int(0)
        failed = driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        return 0 if failed else value.value

    name = ctypes.create_string_buffer(128)
    driver.cuDeviceGetName(name, len(name), device)
    level = 10 * ask(_MAJOR) + ask(_MINOR)
    arch = f"sm_{level}{'a' if level in _ARCH_SPECIFIC else ''}"
    found = {limit: ask(attribute) for limit, attribute in _WANTED.items()}
    # DDR: two transfers a clock. Newer drivers report no clocks; what is 0 keeps its default.
    rates = {
        "clock_hz": 1000 * ask(_CLOCK_KHZ),
        "memory_bytes_per_s": 2 * 1000 * ask(_MEMORY_KHZ) * ask(_BUS_BITS) // 8,
        "lanes": 64 if level in (70, 75, 80) else 128,
    }
    limits: dict[str, Any] = {k: v for k, v in {**found, **rates}.items() if v > 0}
    limits["max_block"] = tuple(map(ask, _BLOCK))
    limits["max_grid"] = tuple(map(ask, _GRID))
    return GpuModel(arch, name.value.decode(errors="replace"), GpuLimits(**limits))
