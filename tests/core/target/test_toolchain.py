from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

import pytest

from metasched.errors import ToolchainError, UsageError
from metasched.target import Target
from metasched.target.toolchain import (
    CompileTimeout,
    Toolchain,
    c_flags,
    compile_shared,
    describe_toolchain,
    find_toolchain,
)


def make_compiler(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


BANNER = 'if [ "$1" = --version ]; then echo "gcc (X 9.9-1) 11.1.0 Free Software"; exit; fi'


@pytest.fixture
def empty_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder the whole search path, with a cache of its own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("METASCHED_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("METASCHED_CC", raising=False)
    return folder


def test_without_a_compiler_the_message_says_what_to_install(empty_path: Path) -> None:
    with pytest.raises(ToolchainError, match=r"tried gcc, clang and cc; install gcc.*_CC"):
        find_toolchain()
    assert describe_toolchain() == "none"
    assert Target("cpu").toolchain == "none"


def test_a_named_compiler_that_is_absent_is_named(
    empty_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METASCHED_CC", "/opt/nothing")
    with pytest.raises(ToolchainError, match="compiler '/opt/nothing' is no executable"):
        find_toolchain()


def test_a_compiler_of_another_family_is_refused(empty_path: Path) -> None:
    make_compiler(empty_path / "cc", "echo tcc version 0.9.27")
    with pytest.raises(ToolchainError, match="is neither gcc nor clang"):
        find_toolchain()


def test_a_compiler_that_cannot_do_openmp_is_refused_and_the_next_is_taken(
    empty_path: Path,
) -> None:
    make_compiler(empty_path / "gcc", f"{BANNER}\necho 'error: no omp' >&2; exit 1")
    with pytest.raises(ToolchainError, match=r"gcc 11.1.0 at .* cannot compile OpenMP .*no omp"):
        find_toolchain()
    banner = BANNER.replace("gcc (X 9.9-1) 11.1.0 Free Software", "Debian clang version 14.0.6")
    output = 'for o; do [ "$p" = -o ] && : > "$o"; p=$o; done'
    make_compiler(empty_path / "clang", f"{banner}\n{output}")
    os.environ["PATH"] += ":/absent"
    assert str(find_toolchain()) == "clang 14.0.6"


@pytest.mark.cc
def test_a_kernel_compiles_and_the_folder_stays_clean(tmp_path: Path) -> None:
    path = compile_shared(
        "int answer(void) { return 42; }",
        toolchain=find_toolchain(),
        flags=c_flags(Target("cpu")),
        out_path=tmp_path / "a.so",
        timeout_s=60,
    )
    assert ctypes.CDLL(str(path)).answer() == 42
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.so"]


@pytest.mark.cc
def test_an_error_shows_the_compilers_first_lines(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match=r"refused the source: .*error: .*undecl") as caught:
        compile_shared(
            "int f(void) { return missing; }\n" * 50,
            toolchain=find_toolchain(),
            flags=("-O1",),
            out_path=tmp_path / "a.so",
        )
    assert len(str(caught.value).splitlines()) <= 6
    assert list(tmp_path.iterdir()) == []


def test_a_compiler_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "child"
    script = f"sleep 600 & echo $! > {note}.part; mv {note}.part {note}; wait"
    toolchain = Toolchain(str(make_compiler(tmp_path / "slow", script)), "gcc", "1.0")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(CompileTimeout, match=r"slow gave no result in 0\.5 s"):
        compile_shared("", toolchain=toolchain, flags=(), out_path=out / "a.so", timeout_s=0.5)
    child = Path(f"/proc/{note.read_text().strip()}/stat")
    deadline = time.monotonic() + 5
    while child.exists() and child.read_text().rpartition(")")[2].split()[0] not in "ZX":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert list(out.iterdir()) == []


def test_a_killed_compiler_is_told(tmp_path: Path) -> None:
    toolchain = Toolchain(str(make_compiler(tmp_path / "dead", "kill -KILL $$")), "gcc", "1.0")
    with pytest.raises(ToolchainError, match=r"gcc 1.0 was killed by SIGKILL"):
        compile_shared("", toolchain=toolchain, flags=(), out_path=tmp_path / "a.so")


def test_flags_follow_the_features() -> None:
    assert "-march=native" in c_flags(Target("cpu"))
    assert "-ffast-math" not in c_flags(Target("cpu"))
    if Target("cpu").arch != "x86_64":
        return
    flags = c_flags(Target("cpu", features=("avx2", "fma")))
    assert flags[-3:] == ("-march=x86-64", "-mavx2", "-mfma")
    with pytest.raises(UsageError, match="no compiler flag is known for the feature 'magic'"):
        c_flags(Target("cpu", features=("magic",)))
    with pytest.raises(UsageError, match="cannot compile for riscv64"):
        c_flags(Target("cpu", arch="riscv64", features=()))
