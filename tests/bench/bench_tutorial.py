"""The tutorial's kernels against NumPy's product: `python -m tests.bench.bench_tutorial`.

Runs the code of `docs/tutorial.md`, then times its kernels and NumPy in turns, so that drift of
the machine disturbs all alike. Ends with status 1 where the last step has less than 70 % of NumPy's
speed.
"""

from __future__ import annotations

import contextlib
import io
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from metasched.compiling import Kernel

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
ROUNDS = 7
WANTED = 0.7


def run_page() -> dict[str, object]:
    """The names that the page's code defines."""
    names: dict[str, object] = {"__name__": "tutorial"}
    with contextlib.redirect_stdout(io.StringIO()):
        for code in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S):
            exec(code, names)
    return names


def numpy_seconds(a: np.ndarray, b: np.ndarray, calls: int = 25) -> float:
    """The median time of NumPy's product into an array that is there."""
    out = np.empty((a.shape[0], b.shape[1]), a.dtype)
    times: list[float] = []
    for _ in range(calls):
        start = time.perf_counter()
        np.matmul(a, b, out=out)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> int:
    """Print a line for each step, and say whether the last is fast enough."""
    names = run_page()
    kernels, a, b = names["kernels"], names["a"], names["b"]
    assert isinstance(kernels, dict)
    assert isinstance(a, np.ndarray)
    assert isinstance(b, np.ndarray)
    runs: dict[str, Callable[[], float]] = {"NumPy": lambda: numpy_seconds(a, b)}
    for name, kernel in kernels.items():
        assert isinstance(kernel, Kernel)
        runs[str(name)] = lambda kernel=kernel: kernel.time(a, b)
    rounds = [{name: run() for name, run in runs.items()} for _ in range(ROUNDS)]
    shares = {n: statistics.median(r["NumPy"] / r[n] for r in rounds) for n in runs}
    print("| step | time | of NumPy's speed |\n|---|---|---|")
    for name in (*kernels, "NumPy"):
        seconds = statistics.median(r[name] for r in rounds)
        print(f"| {name} | {seconds * 1e3:.2f} ms | {shares[name]:.0%} |")
    return 0 if shares[list(kernels)[-1]] >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
