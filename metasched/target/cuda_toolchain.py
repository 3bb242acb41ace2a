"""CUDA's compilers: where NVRTC and nvcc are, and their headers. `cuda_compile` calls them.

NVRTC compiles in this process, several times faster; nvcc takes its place where it is missing.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from metasched.errors import ToolchainError

CUDA_REMEDY: Final = (
    "pip install nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cuda-crt brings a compiler; or set "
    "METASCHED_NVCC to an nvcc, or CUDA_HOME to a toolkit"
)
_PROBE_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class CudaToolchain:
    """What compiles CUDA C.

    Attributes:
        kind: ``"nvrtc"`` or ``"nvcc"``.
        path: The library, or the executable.
        release: The CUDA release that it is of, such as ``"13.0"``.
        includes: Folders with CUDA's headers.
    """

    kind: str
    path: str
    release: str
    includes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind} {self.release}"


def find_cuda() -> CudaToolchain:
    """Return ``$METASCHED_NVCC`` when it is set, else NVRTC, else the first nvcc.

    Raises:
        ToolchainError: there is none; the message says what to install.
    """
    names = ("METASCHED_NVCC", "CUDA_HOME", "CUDA_PATH", "PATH", "LD_LIBRARY_PATH")
    return _find(tuple(os.environ.get(name, "") for name in names))


def describe_cuda() -> str:
    """Return the CUDA release that compiles here, such as ``"cuda 13.0"``, or ``"none"``."""
    try:
        return f"cuda {find_cuda().release}"
    except ToolchainError:
        return "none"


@lru_cache(maxsize=8)
def _find(environment: tuple[str, ...]) -> CudaToolchain:
    named, home, other_home, path, _ = environment
    roots = tuple(_roots(home or other_home))
    # Wheels split the headers; a folder that has all of them is better.
    found = [r / "include" for r in roots if (r / "include/cuda_fp16.h").exists()]
    includes = tuple(map(str, sorted(found, key=lambda f: not (f / "crt/mma.h").exists())))
    if not named:
        for library in _libraries(roots):
            if (release := _nvrtc_release(library)) is not None:
                return CudaToolchain("nvrtc", library, release, includes[:1])
    candidates = [named] if named else [*(str(r / "bin/nvcc") for r in roots), "nvcc"]
    for name in candidates:
        if (found := shutil.which(name, path=path or os.defpath)) is not None:
            return CudaToolchain("nvcc", found, _nvcc_release(found), ())
    given = f"METASCHED_NVCC is '{named}', which is no executable" if named else "no CUDA compiler"
    raise ToolchainError(f"{given}; {CUDA_REMEDY}")


def _roots(home: str) -> Iterator[Path]:
    """Folders of a toolkit: the named one, those that pip installs, and the usual ones."""
    if home:
        yield Path(home)
    for entry in sys.path:
        packages = Path(entry or ".") / "nvidia"
        yield from sorted(packages.glob("cu[0-9]*"), reverse=True)
        yield from sorted(packages.glob("cuda_*"))
    yield Path("/usr/local/cuda")
    yield from sorted(Path("/usr/local").glob("cuda-*"), reverse=True)


def _libraries(roots: tuple[Path, ...]) -> Iterator[str]:
    for root in roots:
        for folder in ("lib64", "lib", "targets/x86_64-linux/lib"):
            found = sorted((root / folder).glob("libnvrtc.so.[0-9]*"), key=lambda p: len(p.name))
            yield from map(str, found[:1])
    yield "libnvrtc.so.13"
    yield "libnvrtc.so.12"


def _nvrtc_release(library: str) -> str | None:
    """Return the release of an NVRTC that loads, or None."""
    major, minor = ctypes.c_int(0), ctypes.c_int(0)
    try:
        failed = ctypes.CDLL(library).nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    except (OSError, AttributeError):
        return None
    return None if failed else f"{major.value}.{minor.value}"


def _nvcc_release(path: str) -> str:
    try:
        done = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainError(f"cannot run '{path}' ({error}); {CUDA_REMEDY}") from error
    if (found := re.search(r"release (\d+\.\d+)", done.stdout)) is None:
        raise ToolchainError(f"'{path}' does not say its release, is it nvcc?; {CUDA_REMEDY}")
    return found[1]
