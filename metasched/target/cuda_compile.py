"""CUDA C to a cubin with what ptxas says of it: by NVRTC in this process, else by nvcc.

Neither needs a GPU. Read `cuda_toolchain` for where they are found.
"""

from __future__ import annotations

import ctypes
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from metasched.errors import ToolchainError
from metasched.target.cuda_toolchain import CUDA_REMEDY, CudaToolchain
from metasched.target.toolchain import run_compiler

CUDA_FLAGS: Final = ("--std=c++17",)
"""What every source is compiled with, besides its architecture. No fast-math: it changes results;
multiplications and additions are fused by default."""

_MESSAGE_LINES: Final = 6

_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


@dataclass(frozen=True, slots=True)
class Cubin:
    """A compiled CUDA source.

    Attributes:
        code: The bytes of the cubin.
        resources: What a thread or block of each kernel uses, by its name: ``registers``,
            ``stack_bytes``, ``spill_store_bytes``, ``spill_load_bytes`` and ``shared_bytes``, the
            shared memory that the source declares.
        warnings: The compiler's warnings, a line each.
    """

    code: bytes
    resources: Mapping[str, Mapping[str, int]]
    warnings: tuple[str, ...] = ()


def compile_cubin(
    source: str, *, toolchain: CudaToolchain, arch: str, timeout_s: float | None = None
) -> Cubin:
    """Compile CUDA C, whose kernels are ``extern "C"``.

    Args:
        source: The text of one translation unit.
        toolchain: The compiler.
        arch: The architecture, such as ``"sm_90"``.
        timeout_s: Seconds allowed to nvcc; NVRTC cannot be interrupted.

    Raises:
        CompileTimeout: nvcc ran out of time.
        ToolchainError: the source was refused, with the first lines of the message.
    """
    compile_with = _by_nvrtc if toolchain.kind == "nvrtc" else _by_nvcc
    code, log = compile_with(source, toolchain, arch, timeout_s)
    found = (line.strip() for line in log.splitlines())
    warnings = tuple(line for line in found if "warning" in line.lower())
    return Cubin(code, parse_resources(log), warnings)


def parse_resources(log: str) -> dict[str, dict[str, int]]:
    """Return what ptxas reports under ``-v``, by kernel."""
    resources: dict[str, dict[str, int]] = {}
    kernel = ""
    for line in log.splitlines():
        if (entry := _ENTRY.search(line)) is not None:
            kernel = entry[1]
            resources[kernel] = {}
        elif kernel:
            resources[kernel] |= _figures(line)
    return resources


def _figures(line: str) -> dict[str, int]:
    found: dict[str, int] = {}
    if (frame := _FRAME.search(line)) is not None:
        names = ("stack_bytes", "spill_store_bytes", "spill_load_bytes")
        found |= dict(zip(names, map(int, frame.groups()), strict=True))
    if (used := _USED.search(line)) is not None:
        found["registers"] = int(used[1])
        shared = _SHARED.search(line)
        found["shared_bytes"] = int(shared[1]) if shared is not None else 0
    return found


def _by_nvcc(
    source: str, toolchain: CudaToolchain, arch: str, timeout_s: float | None
) -> tuple[bytes, str]:
    number = arch.removeprefix("sm_")
    with tempfile.TemporaryDirectory(prefix="metasched-") as folder:
        made = Path(folder, "out.cubin")
        command = [
            toolchain.path, *CUDA_FLAGS, f"-gencode=arch=compute_{number},code={arch}",
            "-cubin", "-Xptxas", "-v", "-x", "cu", "-", "-o", str(made),
        ]  # fmt: skip
        status, log = run_compiler(command, source, folder, timeout_s)
        if status != 0 or not made.exists():
            raise ToolchainError(_refused(toolchain, log))
        return made.read_bytes(), log


def _by_nvrtc(
    source: str, toolchain: CudaToolchain, arch: str, timeout_s: float | None
) -> tuple[bytes, str]:
    library = _library(toolchain.path)
    program = ctypes.c_void_p()
    _check(library, library.nvrtcCreateProgram(
        ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None
    ))  # fmt: skip
    try:
        options = [*CUDA_FLAGS, f"--gpu-architecture={arch}", "--ptxas-options=-v"]
        options += [f"--include-path={folder}" for folder in toolchain.includes]
        texts = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        failed = library.nvrtcCompileProgram(program, len(options), texts)
        log = _fetched(library, program, "ProgramLog").decode(errors="replace").rstrip("\0")
        if failed:
            raise ToolchainError(_refused(toolchain, log))
        return _fetched(library, program, "CUBIN"), log
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _fetched(library: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _check(library, library[f"nvrtcGet{what}Size"](program, ctypes.byref(size)))
    data = ctypes.create_string_buffer(max(size.value, 1))
    _check(library, library[f"nvrtcGet{what}"](program, data))
    return data.raw[: size.value]


def _check(library: ctypes.CDLL, code: int) -> None:
    if code:
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        text: bytes = library.nvrtcGetErrorString(code)
        raise ToolchainError(f"NVRTC failed: {text.decode(errors='replace')}")


@lru_cache(maxsize=4)
def _library(path: str) -> ctypes.CDLL:
    # The built-in functions are a library of their own, which NVRTC looks for by bare name.
    for builtins in sorted(Path(path).parent.glob("libnvrtc-builtins.so.*")):
        ctypes.CDLL(str(builtins))
        break
    return ctypes.CDLL(path)


def _refused(toolchain: CudaToolchain, log: str) -> str:
    lines = [line for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()] or lines
    if any("cannot open source file" in line for line in errors):
        errors.append(f"CUDA's headers are missing; {CUDA_REMEDY}")
    return f"{toolchain} refused the source: " + "\n".join(errors[:_MESSAGE_LINES])
