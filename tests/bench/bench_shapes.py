"""A set of schedules for a dynamic dimension against tuning each size by itself.

`bench_shapes.py URL set TRIALS` tunes the set for matmul with m in 1..512 and n = k = 768,
`bench_shapes.py URL each TRIALS` tunes sizes that the set never saw, one by one, and
`bench_shapes.py URL compare` times both in turns. Tuning resumes, so it can be cut into pieces.
"""

from __future__ import annotations

import math
import random
import sys
from statistics import median

import numpy as np

import metasched as ms
from metasched.database import AbstractDatabase
from metasched.shape_lookup import compile_size
from metasched.shapes import load_dispatch, spread, tune_shapes

SIZES = range(1, 513)
SCHEDULES = 6
SAMPLE = 10
UNSEEN = 12
ROUNDS = 9


def family(m: int) -> ms.Program:
    """The matmul of a size."""
    return ms.ops.matmul(m=m, n=768, k=768)


def unseen() -> list[int]:
    """Sizes drawn at random that no schedule of the set was tuned for or measured on."""
    seen = {*spread(SIZES, SCHEDULES), *spread(SIZES, SAMPLE)}
    return sorted(random.Random(7).sample([m for m in SIZES if m not in seen], UNSEEN))


def compare(database: AbstractDatabase, each: AbstractDatabase) -> None:
    """Time the kernels of both in turns and print the ratios."""
    logs: list[float] = []
    for m in unseen():
        answer = compile_size(family, m, database)
        own = ms.compile(family(m), database=each)
        assert own.record is not None
        rng = np.random.default_rng(m)
        arrays = [rng.random(s, dtype=np.float32) for s in ((m, 768), (768, 768))]
        times: list[tuple[float, float]] = []
        for turn in range(ROUNDS):
            pair = (answer.kernel, own) if turn % 2 else (own, answer.kernel)
            first, second = (kernel.time(*arrays) for kernel in pair)
            times.append((first, second) if turn % 2 else (second, first))
        mine, theirs = (median(column) for column in zip(*times, strict=True))
        ratio = median(a / b for a, b in times)
        logs.append(math.log(ratio))
        print(
            f"m {m:4}: {answer.how} {mine * 1e6:8.1f} us, tuned {theirs * 1e6:8.1f} us, {ratio:.3f}"
        )
    print(f"geometric mean of {len(logs)} unseen sizes: {math.exp(sum(logs) / len(logs)):.3f}")


def main(url: str, step: str, trials: int = 0) -> None:
    """Run one step; the sizes that are tuned one by one have a database of their own."""
    with ms.open_database(url) as database, ms.open_database(f"{url}.each") as each:
        if step == "set":
            dispatch = tune_shapes(
                family, SIZES, schedules=SCHEDULES, trials=trials, sample=SAMPLE, database=database
            )
            print(dispatch)
        elif step == "each":
            for m in unseen():
                result = ms.tune(family(m), database=each, trials=trials)
                print(f"m {m}: {result.best_s}", flush=True)
        else:
            print(load_dispatch(family, "cpu", database))
            compare(database, each)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
