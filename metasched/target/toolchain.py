"""The C compiler: which one is here, what it is asked for, and running it safely.

A compiler runs in a process group of its own, which is killed whole when it takes too long.
Its session stays that of the caller, so whoever ends or pauses a builder reaches it too.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from metasched.errors import ToolchainError, UsageError
from metasched.target.cache import cache_dir, write_atomically
from metasched.target.detect import FEATURE_FLAGS, host_facts

if TYPE_CHECKING:
    from metasched.target.target import Target

BASE_FLAGS: tuple[str, ...] = (
    "-O3",
    "-std=gnu17",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-tree-loop-vectorize",
    "-fopenmp",
    "-w",
)
"""What every source is compiled with. Never ``-ffast-math``: it changes results, and gcc then
schedules unrolled kernels worse. Vectors are explicit in the source; gcc 12's own loop vectoriser
loses guarded stores behind plain ones to the same elements, and brings no speed here."""

_REMEDY = "install gcc (Debian, Ubuntu: gcc; Fedora: gcc libgomp) or set METASCHED_CC to a compiler"
_PROBE_TIMEOUT_S = 60.0
_MESSAGE_LINES = 6

_PROBE = """
typedef float v8 __attribute__((vector_size(32), aligned(4), may_alias));
void probe(v8 *a) {
    #pragma omp parallel for
    for (long i = 0; i < 4; ++i) a[i] = a[i] * a[i] + 1.0f;
}
"""


class CompileTimeout(ToolchainError):
    """The compiler did not end within its time."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A C compiler that was seen to compile vector extensions and OpenMP.

    Attributes:
        path: The executable.
        family: ``"gcc"`` or ``"clang"``.
        version: Its version, such as ``"12.2.0"``.
    """

    path: str
    family: str
    version: str

    def __str__(self) -> str:
        return f"{self.family} {self.version}"


def find_toolchain() -> Toolchain:
    """Return ``$METASCHED_CC`` when it is set, else the first usable of gcc, clang and cc.

    Raises:
        ToolchainError: none is usable; the message says what to install.
    """
    return _find(os.environ.get("METASCHED_CC", ""), os.environ.get("PATH", os.defpath))


def describe_toolchain() -> str:
    """Return name and version of the compiler, or ``"none"`` where there is none."""
    try:
        return str(find_toolchain())
    except ToolchainError:
        return "none"


def c_flags(target: Target) -> tuple[str, ...]:
    """Return the flags that compile for a target.

    Raises:
        UsageError: the target is of another architecture than this host.
    """
    host = host_facts()
    if target.arch != host["arch"]:
        raise UsageError(f"cannot compile for {target.arch} on a {host['arch']} host")
    if target.features == host["features"]:
        return (*BASE_FLAGS, "-march=native")
    if target.arch != "x86_64":
        raise UsageError(f"features of a {target.arch} target cannot be overridden")
    if unknown := [name for name in target.features if name not in FEATURE_FLAGS]:
        raise UsageError(f"no compiler flag is known for the feature '{unknown[0]}'")
    return (*BASE_FLAGS, "-march=x86-64", *(FEATURE_FLAGS[name] for name in target.features))


def compile_shared(
    source: str,
    *,
    toolchain: Toolchain,
    flags: Sequence[str],
    out_path: str | Path,
    timeout_s: float | None = None,
) -> Path:
    """Compile C text to a shared library, which appears at `out_path` whole or not at all.

    Args:
        source: The text of one translation unit.
        toolchain: The compiler.
        flags: Its flags, as from `c_flags`.
        out_path: Where the library goes; its folder exists.
        timeout_s: Seconds allowed. Leave it out inside a build task: the parent has a deadline
            there that does not count the time in which the builder is paused.

    Returns:
        `out_path`.

    Raises:
        CompileTimeout: the compiler ran out of time; all its processes are gone.
        ToolchainError: the compiler refused the source, with the first lines of its message.
    """
    return _compile(source, toolchain, ("-shared", "-fPIC", *flags), Path(out_path), timeout_s)


def compile_program(
    source: str,
    *,
    toolchain: Toolchain,
    flags: Sequence[str],
    out_path: str | Path,
    timeout_s: float | None = None,
) -> Path:
    """Compile C text to an executable; otherwise like `compile_shared`."""
    return _compile(source, toolchain, tuple(flags), Path(out_path), timeout_s)


@lru_cache(maxsize=8)
def _find(named: str, search_path: str) -> Toolchain:
    if named:
        return _describe(named, search_path)
    problems: list[str] = []
    for name in ("gcc", "clang", "cc"):
        if shutil.which(name, path=search_path):
            try:
                return _describe(name, search_path)
            except ToolchainError as error:
                problems.append(str(error))
    found = problems[0] if problems else "no C compiler found: tried gcc, clang and cc"
    raise ToolchainError(f"{found}; {_REMEDY}" if _REMEDY not in found else found)


def _describe(name: str, search_path: str) -> Toolchain:
    """Return the compiler of a name, after it has proved itself."""
    path = shutil.which(name, path=search_path)
    if path is None:
        raise ToolchainError(f"compiler '{name}' is no executable; {_REMEDY}")
    banner = _run_for_text([path, "--version"])
    family = "clang" if "clang" in banner else "gcc" if "Free Software" in banner else ""
    version = re.search(r"\b(\d+\.\d+(?:\.\d+)?)\b", re.sub(r"\([^)]*\)", "", banner))
    if not family or version is None:
        raise ToolchainError(f"compiler '{path}' is neither gcc nor clang; {_REMEDY}")
    toolchain = Toolchain(path, family, version[1])
    _prove(toolchain)
    return toolchain


def _prove(toolchain: Toolchain) -> None:
    """Compile a probe, once for each version of each compiler on this machine."""
    real = os.path.realpath(toolchain.path)
    identity = f"{real} {toolchain} {os.stat(real).st_mtime_ns} {_PROBE} {BASE_FLAGS}"
    proof = cache_dir() / f"compiler-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    if proof.exists():
        return
    with tempfile.TemporaryDirectory(prefix="metasched-") as folder:
        try:
            compile_shared(
                _PROBE,
                toolchain=toolchain,
                flags=BASE_FLAGS,
                out_path=f"{folder}/probe.so",
                timeout_s=_PROBE_TIMEOUT_S,
            )
        except ToolchainError as error:
            message = f"{toolchain} at '{toolchain.path}' cannot compile OpenMP ({error})"
            raise ToolchainError(f"{message}; {_REMEDY}") from error
    write_atomically(proof, identity.encode())


def _run_for_text(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_TIMEOUT_S,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainError(f"cannot run '{command[0]}' ({error}); {_REMEDY}") from error
    return done.stdout


def _compile(
    source: str, toolchain: Toolchain, flags: Sequence[str], out_path: Path, timeout_s: float | None
) -> Path:
    with tempfile.TemporaryDirectory(dir=out_path.parent, prefix=".cc-") as folder:
        made = f"{folder}/out"
        command = [toolchain.path, *flags, "-x", "c", "-", "-o", made, "-lm"]
        returncode, message = run_compiler(command, source, folder, timeout_s)
        if returncode != 0:
            raise ToolchainError(_first_lines(toolchain, returncode, message))
        os.replace(made, out_path)
    return out_path


def run_compiler(
    command: Sequence[str], source: str, folder: str, timeout_s: float | None
) -> tuple[int, str]:
    """Run a compiler on a text and return its status and what it printed as errors.

    Args:
        command: The compiler with its options; it reads standard input.
        source: What it reads there.
        folder: Where its temporary files go.
        timeout_s: Seconds allowed; its process group is killed after them.

    Raises:
        CompileTimeout: the time was over.
        ToolchainError: it cannot be run.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C", "TMPDIR": folder},
            process_group=0,
        )
    except OSError as error:
        raise ToolchainError(f"cannot run '{command[0]}' ({error}); {_REMEDY}") from error
    with process:
        try:
            _, message = process.communicate(source.encode(), timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            given = f"gave no result in {timeout_s:g} s"
            _kill_group(process)
            raise CompileTimeout(f"{Path(command[0]).name} {given}") from error
        except BaseException:
            _kill_group(process)
            raise
    return process.returncode, message.decode(errors="replace")


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _first_lines(toolchain: Toolchain, returncode: int, message: str) -> str:
    if returncode < 0:
        return f"{toolchain} was killed by {signal.Signals(-returncode).name}"
    lines = [line for line in message.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line] or lines
    return f"{toolchain} refused the source: " + "\n".join(errors[:_MESSAGE_LINES])
