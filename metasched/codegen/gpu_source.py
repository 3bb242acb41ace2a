"""What a GPU printer returns: source text, the kernels in it, and how to launch them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal, TypeAlias

Language = Literal["cuda", "opencl"]
Dim3: TypeAlias = tuple[int, int, int]
"""Numbers along x, y and z."""


@dataclass(frozen=True, slots=True)
class KernelLaunch:
    """One launch of a kernel.

    Args:
        entry: name of the kernel in the text.
        grid: blocks along x, y and z.
        block: threads of a block along x, y and z.
        shared_bytes: dynamic shared memory of a block, besides what the text declares itself.
        args: which pointers the kernel takes, in order: numbers below the count of the program's
            parameters mean those, the next ones the buffers of the `GpuSource`.
    """

    entry: str
    grid: Dim3
    block: Dim3
    shared_bytes: int
    args: tuple[int, ...]

    @property
    def threads(self) -> int:
        """Threads of a block."""
        x, y, z = self.block
        return x * y * z

    @property
    def blocks(self) -> int:
        """Blocks of the grid."""
        x, y, z = self.grid
        return x * y * z


@dataclass(frozen=True, slots=True)
class GpuSource:
    """Source of the kernels of one program.

    Args:
        text: the whole translation unit; equal programs give equal bytes.
        language: what the text is written in.
        launches: the kernels in the order to launch them; each begins when the one before it has
            finished, as it does on one stream.
        buffers: bytes of the device buffers that the caller provides for what one kernel leaves
            to a later one; their contents do not matter before the first launch.
    """

    text: str
    language: Language
    launches: tuple[KernelLaunch, ...]
    buffers: tuple[int, ...] = ()

    @property
    def digest(self) -> str:
        """The SHA-256 of the text and the launches in hexadecimal: the key of compiled kernels."""
        launches = [(x.entry, x.grid, x.block, x.shared_bytes, x.args) for x in self.launches]
        parts = (self.language, self.text, json.dumps([launches, self.buffers]))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()
