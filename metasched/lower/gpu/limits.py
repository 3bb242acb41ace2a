"""Check: what a kernel asks for is what the target has."""

from __future__ import annotations

from typing import Final

from metasched.errors import CodegenError
from metasched.ir.expr import Buffer
from metasched.lower.gpu.kernel import Kernel
from metasched.lower.gpu.memory import bytes_of
from metasched.target.gpu import GpuLimits

ALIGNMENT: Final = 128
"""Bytes at a multiple of which each shared buffer begins, as asynchronous copies of tiles need."""


def shared_bytes(buffers: tuple[Buffer, ...]) -> int:
    """Bytes of shared memory that some buffers take together."""
    return sum(-(-bytes_of(buffer) // ALIGNMENT) * ALIGNMENT for buffer in buffers)


def check_limits(kernel: Kernel, limits: GpuLimits) -> None:
    """Refuse a kernel that the target cannot launch.

    Raises:
        CodegenError: it has too many threads or blocks, or takes too much shared memory.
    """
    if kernel.threads > limits.max_threads_per_block:
        raise CodegenError(
            f"kernel '{kernel.name}' has {kernel.threads} threads in a block, and the target "
            f"{limits.max_threads_per_block}; bind smaller loops to threadIdx"
        )
    for axes, most in (
        (kernel.thread_axes, limits.max_block),
        (kernel.block_axes, limits.max_grid),
    ):
        for axis, extent in zip(axes, most, strict=True):
            if axis.extent > extent:
                raise CodegenError(
                    f"kernel '{kernel.name}' has an extent of {axis.extent} on {axis.name}, and "
                    f"the target {extent}; split the loop and bind its parts to other axes"
                )
    used = shared_bytes(kernel.shared)
    if used > limits.shared_bytes_optin:
        raise CodegenError(
            f"kernel '{kernel.name}' takes {used} bytes of shared memory, and a block may have "
            f"{limits.shared_bytes_optin}; make the cached tiles smaller"
        )
