"""What a GPU can hold and do: its limits, and what is known of those that are not here.

`cuda_device` reads the same limits from a device that is present, `target` puts them in a target.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from metasched.errors import UsageError, suggest

Extents = tuple[int, int, int]

_KIB = 1 << 10
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class GpuLimits:
    """The limits of one GPU; sizes in bytes, rates at the highest clock.

    Attributes:
        max_threads_per_block: Threads of one block (work items of one work group).
        max_block: Extents of a block in x, y and z.
        max_grid: Extents of a grid in x, y and z, in blocks.
        warp_size: Threads that run in step.
        shared_bytes_per_block: Shared (OpenCL: local) memory that a block may declare.
        shared_bytes_optin: What it may have when its size is given at launch; as much as
            `shared_bytes_per_block` where that brings no more.
        shared_bytes_per_multiprocessor: What the blocks on one multiprocessor share.
        registers_per_block: 32-bit registers of a block.
        registers_per_thread: 32-bit registers of a thread.
        registers_per_multiprocessor: 32-bit registers that its blocks share.
        multiprocessors: Multiprocessors (OpenCL: compute units).
        max_threads_per_multiprocessor: Threads that one holds at a time.
        max_blocks_per_multiprocessor: Blocks that one holds at a time.
        l2_bytes: The cache in front of the memory.
        memory_bytes_per_s: Bandwidth of the memory.
        clock_hz: Clock of the multiprocessors.
        lanes: Float32 multiply-adds of one multiprocessor in a clock.
    """

    max_threads_per_block: int = 1024
    max_block: Extents = (1024, 1024, 64)
    max_grid: Extents = (2**31 - 1, 65535, 65535)
    warp_size: int = 32
    shared_bytes_per_block: int = 48 * _KIB
    shared_bytes_optin: int = 48 * _KIB
    shared_bytes_per_multiprocessor: int = 64 * _KIB
    registers_per_block: int = 65536
    registers_per_thread: int = 255
    registers_per_multiprocessor: int = 65536
    multiprocessors: int = 32
    max_threads_per_multiprocessor: int = 1024
    max_blocks_per_multiprocessor: int = 16
    l2_bytes: int = 4 * _MIB
    memory_bytes_per_s: int = 400 * 10**9
    clock_hz: int = 1500 * 10**6
    lanes: int = 64

    def __post_init__(self) -> None:
        for field in fields(self):
            value, many = getattr(self, field.name), field.name in _EXTENTS
            if not (_are_extents(value) if many else _is_size(value)):
                expected = "three numbers from 1" if many else "a number from 1"
                raise UsageError(f"GPU limit {field.name} is {value!r}, expected {expected}")

    def to_dict(self) -> dict[str, Any]:
        """Return the limits as JSON values; `from_dict` reads them back."""
        return asdict(self) | {name: list(getattr(self, name)) for name in _EXTENTS}

    @staticmethod
    def from_dict(data: Any) -> GpuLimits:
        """Return the limits that `to_dict` described.

        Raises:
            UsageError: a limit is missing, unknown or of the wrong type.
        """
        names = {field.name for field in fields(GpuLimits)}
        if not isinstance(data, Mapping):
            raise UsageError(f"the limits of a GPU are named values, got {type(data).__name__}")
        values: dict[str, Any] = dict(data)  # pyright: ignore[reportUnknownArgumentType]
        if missing := sorted(names - values.keys()):
            raise UsageError(f"the limits of a GPU need '{missing[0]}'; got {sorted(values)}")
        if unknown := sorted(values.keys() - names):
            raise UsageError(f"a GPU has no limit '{unknown[0]}'{suggest(unknown[0], names)}")
        for name in _EXTENTS:
            values[name] = tuple(values[name]) if isinstance(values[name], list) else values[name]
        return GpuLimits(**values)


_EXTENTS: Final = ("max_block", "max_grid")


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 1


def _are_extents(value: Any) -> bool:
    return type(value) is tuple and len(value) == 3 and all(map(_is_size, value))  # pyright: ignore[reportUnknownArgumentType]


OPENCL_LIMITS: Final = GpuLimits()
"""What ``Target("opencl")`` stands for: 1024 work items in a group and 48 KiB of local memory, in
the middle of today's GPUs. A device's own limits come with its name, as in ``"opencl:nvidia"``."""


@dataclass(frozen=True, slots=True)
class GpuModel:
    """A GPU that a target can be named after without having one."""

    arch: str
    model: str
    limits: GpuLimits


def _cuda(
    arch: str, model: str, sms: int, threads: int, blocks: int, shared_kib: int, l2_mib: int,
    gigabytes_per_s: int, mhz: int, lanes: int,
) -> GpuModel:  # fmt: skip
    """A model by what differs; CUDA keeps 1 KiB of a multiprocessor's shared memory a block."""
    optin = (shared_kib - (0 if arch == "sm_75" else 1)) * _KIB
    return GpuModel(
        arch,
        model,
        GpuLimits(
            shared_bytes_optin=optin,
            shared_bytes_per_multiprocessor=shared_kib * _KIB,
            multiprocessors=sms,
            max_threads_per_multiprocessor=threads,
            max_blocks_per_multiprocessor=blocks,
            l2_bytes=l2_mib * _MIB,
            memory_bytes_per_s=gigabytes_per_s * 10**9,
            clock_hz=mhz * 10**6,
            lanes=lanes,
        ),
    )


CUDA_MODELS: Final[Mapping[str, GpuModel]] = {
    "t4": _cuda("sm_75", "NVIDIA T4", 40, 1024, 16, 64, 4, 320, 1590, 64),
    "a100": _cuda("sm_80", "NVIDIA A100-SXM4-80GB", 108, 2048, 32, 164, 40, 2039, 1410, 64),
    "a6000": _cuda("sm_86", "NVIDIA RTX A6000", 84, 1536, 16, 100, 6, 768, 1800, 128),
    "l40s": _cuda("sm_89", "NVIDIA L40S", 142, 1536, 24, 100, 96, 864, 2520, 128),
    "h100": _cuda("sm_90a", "NVIDIA H100 80GB HBM3", 132, 2048, 32, 228, 50, 3352, 1980, 128),
    "h200": _cuda("sm_90a", "NVIDIA H200", 132, 2048, 32, 228, 50, 4814, 1980, 128),
    "b200": _cuda("sm_100a", "NVIDIA B200", 148, 2048, 32, 228, 126, 8000, 1965, 128),
    "rtx5090": _cuda("sm_120a", "NVIDIA RTX 5090", 170, 1536, 24, 100, 96, 1792, 2407, 128),
}
"""The GPUs that ``cuda:NAME`` knows. The first one of an architecture stands for ``cuda:sm_NN``."""

_FROM: Final[Mapping[str, int]] = {
    "dp4a": 61,
    "wmma_m16n16k16_f16": 70,
    "ldmatrix": 75,
    "mma_m16n8k8_f16": 75,
    "cp_async": 80,
    "mma_m16n8k16_f16": 80,
    "mma_m16n8k16_bf16": 80,
    "mma_m16n8k8_tf32": 80,
    "mma_m16n8k32_s8": 80,
    "wmma_m16n16k16_bf16": 80,
    "wmma_m16n16k8_tf32": 80,
    "mma_m16n8k32_f8": 89,
    "tma": 90,
}
"""What the instruction set offers from which compute capability on, under a target's `features`."""


def gpu_models(name: str) -> GpuModel:
    """Return the GPU of a name such as ``"h100"`` or an architecture such as ``"sm_90"``.

    Raises:
        UsageError: nothing is known of it; the message names the closest.
    """
    if (named := CUDA_MODELS.get(name)) is not None:
        return named
    for model in CUDA_MODELS.values():
        if model.arch.rstrip("a") == name.rstrip("a"):
            return GpuModel(name, model.model, model.limits)
    known = {m.arch.rstrip("a") for m in CUDA_MODELS.values()} | CUDA_MODELS.keys()
    raise UsageError(f"unknown CUDA architecture '{name}'{suggest(name, known)}")


def cuda_features(arch: str) -> tuple[str, ...]:
    """Return what generated code may use on an architecture, sorted.

    >>> "cp_async" in cuda_features("sm_75"), "wgmma" in cuda_features("sm_90a")
    (False, True)
    """
    level = capability(arch)
    found = {name for name, first in _FROM.items() if level >= first}
    return tuple(sorted(found | ({"wgmma"} if arch == "sm_90a" else set())))


def capability(arch: str) -> int:
    """Return the compute capability of an architecture, as 90 for ``"sm_90a"``.

    Raises:
        UsageError: the text is no CUDA architecture.
    """
    if (found := re.fullmatch(r"sm_(\d{2,3})a?", arch)) is None:
        raise UsageError(f"'{arch}' is no CUDA architecture; expected one such as 'sm_90'")
    return int(found[1])
