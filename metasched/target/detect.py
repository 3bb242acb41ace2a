"""What this host is: ISA, caches and cores, read from Linux's /proc and /sys.

Never raises: what cannot be read gets a modest default. Read `target` next.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

FEATURE_FLAGS: Mapping[str, str] = {
    "amx_bf16": "-mamx-bf16",
    "amx_int8": "-mamx-int8",
    "amx_tile": "-mamx-tile",
    "avx": "-mavx",
    "avx2": "-mavx2",
    "avx512_bf16": "-mavx512bf16",
    "avx512_fp16": "-mavx512fp16",
    "avx512_vbmi2": "-mavx512vbmi2",
    "avx512_vnni": "-mavx512vnni",
    "avx512bw": "-mavx512bw",
    "avx512cd": "-mavx512cd",
    "avx512dq": "-mavx512dq",
    "avx512f": "-mavx512f",
    "avx512vbmi": "-mavx512vbmi",
    "avx512vl": "-mavx512vl",
    "avx_vnni": "-mavxvnni",
    "f16c": "-mf16c",
    "fma": "-mfma",
    "sse4_2": "-msse4.2",
}
"""ISA features that matter to generated code, by their Linux name, with the compiler's flag."""

ARM_FEATURES = ("asimd", "asimddp", "asimdhp", "bf16", "i8mm", "sve", "sve2")
"""The same for aarch64, where the host is always compiled for as a whole."""

_CPUINFO = Path("/proc/cpuinfo")
_CACHES = Path("/sys/devices/system/cpu")
_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def host_facts() -> dict[str, Any]:
    """Return the fields of a target that describe this host, apart from its compiler.

    >>> host_facts()["cores"] >= 1
    True
    """
    return {**_fixed_facts(), "cores": usable_cores()}


def vector_unit(arch: str, features: Iterable[str]) -> tuple[int, int]:
    """Return bits and number of the vector registers that an ISA offers.

    >>> vector_unit("x86_64", ("avx2", "fma"))
    (256, 16)
    """
    known = frozenset(features)
    if arch != "x86_64":
        return 128, 32 if arch in ("aarch64", "arm64") else 16
    if "avx512f" in known:
        return 512, 32
    return (256 if "avx" in known or "avx2" in known else 128), 16


def usable_cores() -> int:
    """Return the cores this process may use: its affinity, capped by its control group."""
    try:
        cores = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        cores = os.cpu_count() or 1
    return max(1, min(cores, _quota_cores(_read(_CGROUP_QUOTA), cores)))


def parse_cpuinfo(text: str) -> dict[str, str]:
    """Return the fields of the first processor in the text of ``/proc/cpuinfo``."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return fields


def parse_size(text: str) -> int:
    """Return the bytes that a cache size such as ``"32K"`` stands for; 0 if it is none.

    >>> parse_size("32K"), parse_size("1M"), parse_size("?")
    (32768, 1048576, 0)
    """
    text = text.strip()
    unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:], 1)
    digits = text.rstrip("KMG")
    return int(digits) * unit if digits.isdecimal() else 0


@lru_cache(maxsize=1)
def _fixed_facts() -> Mapping[str, Any]:
    cpuinfo = parse_cpuinfo(_read(_CPUINFO))
    arch = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    flags = set((cpuinfo.get("flags") or cpuinfo.get("Features") or "").split())
    features = tuple(sorted(flags.intersection((*FEATURE_FLAGS, *ARM_FEATURES))))
    bits, registers = vector_unit(arch, features)
    sizes, line = _cache_sizes(_CACHES)
    return dict(
        arch=arch or "unknown",
        model=cpuinfo.get("model name") or platform.processor() or "unknown",
        features=features,
        vector_bits=bits,
        vector_registers=registers,
        l1_bytes=sizes.get(1, 32 << 10),
        l2_bytes=sizes.get(2, 512 << 10),
        l3_bytes=sizes.get(3, sizes.get(2, 4 << 20)),
        line_bytes=line or 64,
    )


def _cache_sizes(folder: Path) -> tuple[dict[int, int], int]:
    """Return bytes by level of the data caches of the first usable core, and the line size."""
    sizes: dict[int, int] = {}
    line = 0
    for index in sorted(folder.glob(f"cpu{_first_core()}/cache/index*")):
        level, size = _read(index / "level").strip(), parse_size(_read(index / "size"))
        if level.isdecimal() and size and "Instruction" not in _read(index / "type"):
            sizes[int(level)] = size
            line = line or parse_size(_read(index / "coherency_line_size"))
    return sizes, line


def _first_core() -> int:
    try:
        return min(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return 0


def _quota_cores(text: str, default: int) -> int:
    quota, _, period = text.strip().partition(" ")
    if not quota.isdecimal() or not period.isdecimal() or int(period) == 0:
        return default
    return max(1, math.ceil(int(quota) / int(period)))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
