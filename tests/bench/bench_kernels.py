"""Hand-scheduled kernels against the machine's peak: `python -m tests.bench.bench_kernels`.

Prints GFLOP/s and the share of the peak for register tiles that stay in the first-level cache and
for blocked matmuls on one and two threads, beside NumPy.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from metasched.codegen import emit
from metasched.ir.stmt import Program
from metasched.lower import lower
from tests.core.codegen.running import Kernel, random_inputs
from tests.core.lower.programs import Machine, tiled_matmul

PEAK_GFLOPS = 117.0
"""Of one core: 16 lanes, 1 fused multiply-add a cycle, 3.66 GHz."""

_TIMER = """
#include <time.h>
double run(void (*f)(void **, void *), void **args, void *space, long n) {
  struct timespec a, b;
  clock_gettime(CLOCK_MONOTONIC, &a);
  for (long i = 0; i < n; ++i) f(args, space);
  clock_gettime(CLOCK_MONOTONIC, &b);
  return (b.tv_sec - a.tv_sec) + (b.tv_nsec - a.tv_nsec) * 1e-9;
}
"""


class Timer:
    """Calls a kernel in a loop written in C."""

    def __init__(self, folder: Path) -> None:
        (folder / "timer.c").write_text(_TIMER)
        path = folder / "timer.so"
        command = ["gcc", "-O2", "-shared", "-fPIC", "-o", path, folder / "timer.c"]
        subprocess.run(list(map(str, command)), check=True)
        self._run = ctypes.CDLL(str(path)).run
        self._run.restype = ctypes.c_double
        self.folder = folder

    def seconds(self, program: Program, machine: Machine, rounds: int = 40) -> float:
        """The best time of one call in short rounds, since a busy machine takes turns."""
        kernel = Kernel(emit(lower(program, machine), machine), self.folder)
        inputs = random_inputs(program)
        outputs = {
            p.name: np.zeros([int(str(s)) for s in p.shape], "float32") for p in program.outputs
        }
        arrays = [{**inputs, **outputs}[p.name] for p in program.params]
        pointers = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
        space = ctypes.c_void_p(kernel._space.ctypes.data)
        call = lambda n: self._run(kernel.function, pointers, space, ctypes.c_long(n))  # noqa: E731
        once = max(call(2) / 2, 1e-7)
        calls = max(1, int(0.003 / once))
        return min(call(calls) / calls for _ in range(rounds))


def report(timer: Timer, name: str, program: Program, cores: int) -> None:
    """Print one line of the table."""
    a, b, _ = program.params
    m, k, n = int(str(a.shape[0])), int(str(a.shape[1])), int(str(b.shape[1]))
    seconds = timer.seconds(program, Machine(cores=cores))
    gflops = 2 * m * n * k / seconds * 1e-9
    share = gflops / (PEAK_GFLOPS * cores)
    print(f"{name:34} {cores} thr {seconds * 1e6:9.1f} us {gflops:7.1f} GFLOP/s {share:6.1%}")


def numpy_line(m: int) -> None:
    """Print NumPy's time for a square matmul."""
    a = np.random.default_rng(0).random((m, m), np.float32)
    times: list[float] = []
    for _ in range(30):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    gflops = 2 * m**3 / min(times) * 1e-9
    print(f"{f'numpy {m}':34}       {min(times) * 1e6:9.1f} us {gflops:7.1f} GFLOP/s")


def main() -> None:
    """Run all tables, or those whose name contains an argument."""
    with tempfile.TemporaryDirectory() as folder:
        timer = Timer(Path(folder))
        for name, program, cores in cases():
            if len(sys.argv) < 2 or any(a in name for a in sys.argv[1:]):
                report(timer, name, program, cores)
    for size in (128, 512):
        numpy_line(size)


def cases() -> list[tuple[str, Program, int]]:
    """Name, scheduled program and threads of every line."""
    found: list[tuple[str, Program, int]] = []
    for rows, width in ((14, 32), (6, 64), (8, 32), (4, 64), (12, 32), (16, 32), (8, 48), (28, 16)):
        tile = tiled_matmul((1, 1, 1, rows), (1, 1, 1, width), (1, 128))
        found.append((f"L1 tile {rows}x{width // 16}", tile, 1))
    parallel = {"i0": "parallel"}
    for cores in (1, 2):
        kinds = parallel if cores > 1 else {}
        m128 = tiled_matmul((2, 8, 1, 8), (1, 4, 1, 32), (1, 128), kinds=kinds)
        found.append(("matmul 128 8x2", m128, cores))
        for rows in (8, 16):
            big = tiled_matmul((2, 256 // rows, 1, rows), (2, 8, 1, 32), (2, 256), kinds=kinds)
            found.append((f"matmul 512 {rows}x2", big, cores))
        order = "i0 j0 i1 j1 k0 j2 i2 k1 i3 j3"
        packed = tiled_matmul((2, 1, 32, 8), (4, 1, 4, 32), (2, 256), kinds=kinds, order=order)
        found.append(("matmul 512 8x2 k blocked", packed, cores))
    return found


if __name__ == "__main__":
    main()
