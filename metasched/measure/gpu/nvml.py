"""What an NVIDIA GPU says of its clocks, temperature and power; nothing where NVML is missing.

It only reads: settings of the card are its owner's.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import lru_cache

_SM, _MEMORY, _GPU_SENSOR = 1, 2, 0


def read_conditions(bus_id: str) -> Mapping[str, float]:
    """Return clocks in MHz, temperature in degrees Celsius and power in watts, by name.

    Args:
        bus_id: The PCI address of the device, as ``"0000:01:00.0"``.
    """
    library = _library()
    device = ctypes.c_void_p()
    if library is None or library.nvmlDeviceGetHandleByPciBusId_v2(
        bus_id.encode(), ctypes.byref(device)
    ):
        return {}
    value = ctypes.c_uint(0)
    asked = {
        "sm_clock_mhz": (library.nvmlDeviceGetClockInfo, (device, _SM), 1.0),
        "memory_clock_mhz": (library.nvmlDeviceGetClockInfo, (device, _MEMORY), 1.0),
        "temperature_c": (library.nvmlDeviceGetTemperature, (device, _GPU_SENSOR), 1.0),
        "power_w": (library.nvmlDeviceGetPowerUsage, (device,), 1e-3),
    }
    return {
        name: scale * value.value
        for name, (function, arguments, scale) in asked.items()
        if function(*arguments, ctypes.byref(value)) == 0
    }


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    return None if library.nvmlInit_v2() else library
