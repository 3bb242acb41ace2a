"""Run GPU kernels on an OpenCL device, and compile CUDA text, in tests; nothing is measured."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from metasched.codegen.gpu_source import GpuSource
from metasched.errors import UsageError
from metasched.ir.expr import int_value
from metasched.ir.stmt import Program

Array: TypeAlias = npt.NDArray[Any]

_GUARD = 64
"""Bytes around each buffer that no kernel may change."""


def run_opencl(source: GpuSource, arrays: Sequence[Array]) -> list[Array]:
    """The arrays after the kernels ran on copies of them, in the order of the parameters.

    Raises:
        UsageError: a kernel wrote outside of a buffer.
    """
    import pyopencl as cl  # type: ignore[import-not-found,unused-ignore]

    api: Any = cl
    context: Any = api.create_some_context(interactive=False)
    queue: Any = api.CommandQueue(context)
    program: Any = api.Program(context, source.text).build()
    held: list[npt.NDArray[np.uint8]] = []
    for array in arrays:
        held.append(_guarded(np.ascontiguousarray(array).view(np.uint8).ravel()))
    held += [_guarded(np.full(size, 0xFF, np.uint8)) for size in source.buffers]
    flags: Any = api.mem_flags.READ_WRITE | api.mem_flags.COPY_HOST_PTR
    buffers: list[Any] = [api.Buffer(context, flags, hostbuf=data) for data in held]
    views = [
        b.get_sub_region(_GUARD * 2, len(d) - _GUARD * 4)
        for b, d in zip(buffers, held, strict=True)
    ]
    for launch in source.launches:
        size = [g * b for g, b in zip(launch.grid, launch.block, strict=True)]
        kernel: Any = getattr(program, launch.entry)
        kernel(queue, size, list(launch.block), *(views[n] for n in launch.args))
    results: list[Array] = []
    for number, (buffer, data) in enumerate(zip(buffers, held, strict=True)):
        found = np.empty_like(data)
        api.enqueue_copy(queue, found, buffer)
        inside = slice(_GUARD * 2, len(data) - _GUARD * 2)
        if not (_edges(found) == 0xA5).all():
            raise UsageError(f"a kernel wrote outside of buffer {number}")
        if number < len(arrays):
            array = arrays[number]
            results.append(found[inside].view(array.dtype).reshape(array.shape))
    return results


def _guarded(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    edge = np.full(_GUARD * 2, 0xA5, np.uint8)
    return np.concatenate([edge, data, edge])


def _edges(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.concatenate([data[: _GUARD * 2], data[-_GUARD * 2 :]])


def run_program(
    program: Program, source: GpuSource, inputs: Mapping[str, Array]
) -> dict[str, Array]:
    """The outputs of a program's kernels, poisoned first."""
    outputs = program.outputs
    arrays: list[Array] = []
    for p in program.params:
        shape = tuple(int_value(extent) or 0 for extent in p.shape)
        if p in outputs:
            poison = np.nan if p.dtype.code == "float" else 77
            arrays.append(np.full(shape, poison, p.dtype.numpy()))
        else:
            arrays.append(np.ascontiguousarray(inputs[p.name]))
    results = run_opencl(source, arrays)
    found = zip(program.params, results, strict=True)
    return {p.name: array for p, array in found if p in outputs}


NVCC = "/usr/local/cuda/bin/nvcc"


def compile_cuda(
    source: GpuSource, folder: Path, arch: str, *, nvcc: str = NVCC, ptx: bool = False
) -> str:
    """Compile to a cubin without a warning, and return what ptxas reports (or the PTX).

    Raises:
        UsageError: the compiler refuses the text or warns.
    """
    text = folder / f"{source.digest[:16]}.cu"
    text.write_text(source.text)
    out = text.with_suffix(f".{arch}.{'ptx' if ptx else 'cubin'}")
    options = ["-ptx"] if ptx else ["-cubin", "-Xptxas=-v"]
    command = [nvcc, f"-arch={arch}", "-Werror", "all-warnings", *options]
    done = subprocess.run(
        [*command, "-o", str(out), str(text)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UsageError(f"nvcc refuses the kernel:\n{done.stderr}\n{source.text}")
    return out.read_text() if ptx else done.stderr
