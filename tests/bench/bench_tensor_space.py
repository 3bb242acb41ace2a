"""Tuning with and without intrinsics: ``python -m tests.bench.bench_tensor_space``.

The default space is searched as it is and without `multi_level_tiling_with_intrin`. The best of
either space counts, not the default schedule, which uses intrinsics, too.
"""

from __future__ import annotations

import sys

import metasched as ms
from metasched.trace.trace import Trace

_RULE = "multi_level_tiling_with_intrin"


def best_s(program: ms.Program, space: ms.Space, trials: int) -> float:
    """Seconds of the fastest candidate of a space."""
    target = ms.Target("cpu")
    with ms.open_database("memory:") as database:
        ms.tune(program, target=target, space=space, trials=trials, seed=0, database=database)
        records = [r for r in database.records() if r.time_s is not None]
    bound = space.on(program, target)
    return min(r.time_s for r in records if r.time_s and Trace.from_json(r.trace) in bound)


def main(sizes: list[int], trials: int = 32) -> None:
    """Print one line a case."""
    print(ms.Target("cpu"))
    whole = ms.Space.default("cpu")
    for size in sizes:
        for dtype, acc in (("int8", "int32"), ("bfloat16", "float32")):
            program = ms.ops.matmul(m=size, n=size, k=size, dtype=dtype, acc_dtype=acc)
            with_, without = (
                best_s(program, space, trials) for space in (whole, whole.without_rule(_RULE))
            )
            gops = [2 * size**3 / seconds / 1e9 for seconds in (with_, without)]
            print(
                f"{dtype:9} {size:5} {trials} trials: {with_ * 1e3:8.3f} ms {gops[0]:6.0f} GOP/s, "
                f"without {without * 1e3:.3f} ms {gops[1]:.0f} GOP/s, {without / with_:.1f} times"
            )


if __name__ == "__main__":
    main([int(text) for text in sys.argv[1:]] or [512])
