"""Hand-written C kernels, and the build tasks that workers call in the tests."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from metasched.errors import CodegenError
from metasched.measure.records import ArgSpec, Artefact, BuildOutput, Rejected
from metasched.target import Target
from metasched.target.toolchain import c_flags, compile_shared, find_toolchain

N = 1000
ARGS = (
    ArgSpec("a", (N,), "float32", False),
    ArgSpec("b", (N,), "float32", True),
)
HEAD = f"""
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#define N {N}
"""
BODY = "const float *a = args[0]; float *b = args[1]; (void)a; (void)b; (void)workspace;"

DOUBLE = "for (int i = 0; i < N; ++i) b[i] = 2.0f * a[i];"
PARALLEL = "\n#pragma omp parallel for\n" + DOUBLE
NOTHING = ""
PARTIAL = "for (int i = 0; i < N - 1; ++i) b[i] = 2.0f * a[i];"
WRONG = "for (int i = 0; i < N; ++i) b[i] = 2.5f * a[i];"
STRAY = DOUBLE + "b[N] = 1.0f;"
INPUT = DOUBLE + "((float *)a)[3] = 7.0f;"
SEGFAULT = 'fprintf(stderr, "about to crash\\n"); *(volatile int *)8 = 0;'
HANG = 'for (;;) { __asm__ volatile(""); }'
SLOW = "for (int r = 0; r < 3000; ++r) {" + DOUBLE + '__asm__ volatile("" ::: "memory"); }'
ACCUMULATE = "for (int i = 0; i < N; ++i) b[i] += 2.0f * a[i];"
SCRATCH = "float *w = workspace; for (int i = 0; i < N; ++i) w[i] += 2.0f * a[i];" + (
    "for (int i = 0; i < N; ++i) b[i] = w[i];"
)


def compile_kernel(
    folder: str | Path,
    body: str,
    args: tuple[ArgSpec, ...] = ARGS,
    workspace_bytes: int = 0,
    entry: str = "kernel",
) -> Artefact:
    """Compile a kernel of that body and return it."""
    source = f"{HEAD}\nvoid {entry}(void **args, void *workspace) {{ {body} }}\n"
    if args is ARGS:
        source = source.replace("{ ", f"{{ {BODY} ", 1)
    digest = hashlib.sha256(f"{source}{workspace_bytes}".encode()).hexdigest()[:16]
    path = compile_shared(
        source,
        toolchain=find_toolchain(),
        flags=(*c_flags(Target("cpu")), "-O1"),
        out_path=Path(folder) / f"{digest}.so",
    )
    return Artefact(str(path), entry, digest, args, workspace_bytes, float(N))


def build(payload: str, out_dir: str) -> BuildOutput:
    return BuildOutput(compile_kernel(out_dir, payload), "hash", "[]", {"compile_s": 0.0})


def reject(payload: str, out_dir: str) -> BuildOutput:
    raise Rejected(payload)


def refuse(payload: str, out_dir: str) -> BuildOutput:
    raise CodegenError(payload)


def blunder(payload: str, out_dir: str) -> BuildOutput:
    raise ZeroDivisionError(payload)


def answer_nonsense(payload: str, out_dir: str) -> Any:
    return lambda: None


def die(payload: str, out_dir: str) -> BuildOutput:
    print("last words")
    os.abort()


def hang_with_children(payload: str, out_dir: str) -> BuildOutput:
    """Start sleepers in this group and in one of their own, tell their pids, and hang."""
    code = "import time; time.sleep(600)"
    children = [
        subprocess.Popen([sys.executable, "-c", code]),
        subprocess.Popen([sys.executable, "-c", code], process_group=0),
        subprocess.Popen([sys.executable, "-c", code], start_new_session=True),
    ]
    pids = [child.pid for child in children]
    note = Path(f"{payload}.part")
    note.write_text(" ".join(map(str, (*pids, os.getpid()))))
    note.rename(payload)
    time.sleep(600)
    raise AssertionError


def nap(payload: int, out_dir: str) -> BuildOutput:
    """Sleep so many times 10 ms; time in which the process is stopped is not slept away."""
    for _ in range(payload):
        time.sleep(0.01)
    raise Rejected("rested")


def read_environment(payload: str, out_dir: str) -> BuildOutput:
    raise Rejected(f"{os.environ.get(payload)} {os.getpid()} {os.nice(0)} {sorted(sys.modules)}")
