"""From a printed GPU program to files that a device loads: a cubin or OpenCL's text, and its plan.

Runs in builder processes, like `metasched.build`, and needs no GPU.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from metasched.codegen.gpu_source import GpuSource
from metasched.errors import DeviceError, MeasureError, ToolchainError
from metasched.measure.gpu.opencl import build_opencl
from metasched.measure.gpu.plan import Launch, LaunchPlan
from metasched.measure.records import ArgSpec
from metasched.target import Target
from metasched.target.cache import write_atomically
from metasched.target.cuda_compile import CUDA_FLAGS, compile_cubin
from metasched.target.cuda_toolchain import describe_cuda, find_cuda
from metasched.target.opencl_device import choose_opencl, describe_opencl, load_pyopencl

_ENDINGS: Mapping[str, str] = {"cuda": "cubin", "opencl": "cl"}


def gpu_source_hash(source: GpuSource, target: Target) -> str:
    """The hash of printed text and launches with the compiler: what an artefact is known by."""
    compiler = describe_cuda() if source.language == "cuda" else describe_opencl()
    key = "\n".join((compiler, *CUDA_FLAGS, target.arch, source.digest))
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def compile_gpu(
    source: GpuSource, args: tuple[ArgSpec, ...], target: Target, out_dir: str
) -> tuple[Path, LaunchPlan]:
    """Compile printed text into a folder; files that exist already are reused.

    Returns:
        The compiled file and the plan that lies beside it.

    Raises:
        ToolchainError: there is no compiler, or it refused the text.
        DeviceError: OpenCL is missing, whose compiler is its driver's.
    """
    path = Path(out_dir) / f"{gpu_source_hash(source, target)}.{_ENDINGS[source.language]}"
    if path.exists():
        return path, LaunchPlan.read(path)
    code, resources = _compiled(source, target)
    plan = LaunchPlan(
        source.language,
        target.arch,
        args,
        source.buffers,
        tuple(
            Launch(one.entry, one.grid, one.block, one.shared_bytes, one.args)
            for one in source.launches
        ),
        resources,
    )
    _check_fits(plan, target)
    # The code goes last: where it is, the plan is, too.
    write_atomically(path.with_suffix(".json"), plan.to_json(path.name).encode())
    write_atomically(path, code)
    return path, plan


def _check_fits(plan: LaunchPlan, target: Target) -> None:
    """Refuse what a launch would refuse: what the compiler adds may be just too much.

    Raises:
        ToolchainError: a kernel takes more than the device has.
    """
    limits = target.gpu
    assert limits is not None
    for launch in plan.launches:
        used = plan.resources.get(launch.kernel, {})
        x, y, z = launch.block
        taken = {
            "bytes of shared memory": (
                used.get("shared_bytes", 0) + launch.shared_bytes, limits.shared_bytes_optin
            ),
            "registers": (used.get("registers", 0) * x * y * z, limits.registers_per_block),
        }  # fmt: skip
        for name, (needed, most) in taken.items():
            if needed > most:
                raise ToolchainError(
                    f"a block of '{launch.kernel}' takes {needed} {name} of {most}"
                )


def total_resources(plan: LaunchPlan) -> dict[str, int]:
    """What the compiler says of the kernels of a plan: of each figure the largest."""
    dynamic = max((launch.shared_bytes for launch in plan.launches), default=0)
    totals = {"dynamic_shared_bytes": dynamic} if dynamic else dict[str, int]()
    for figures in plan.resources.values():
        for name, value in figures.items():
            totals[name] = max(value, totals.get(name, 0))
    return totals


def _compiled(source: GpuSource, target: Target) -> tuple[bytes, dict[str, Any]]:
    if source.language == "cuda":
        cubin = compile_cubin(source.text, toolchain=find_cuda(), arch=target.arch)
        return cubin.code, dict(cubin.resources)
    try:
        build_opencl(_context(target.arch), source.text)
    except MeasureError as error:
        raise ToolchainError(str(error)) from error
    return source.text.encode(), {}


@lru_cache(maxsize=4)
def _context(arch: str) -> Any:
    try:
        return load_pyopencl().Context([choose_opencl(arch)])
    except load_pyopencl().Error as error:
        raise DeviceError(f"OpenCL opens no context: {error}") from error
