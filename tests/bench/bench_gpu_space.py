"""Candidates a second of the GPU space, scored in bulk, and the share that keeps the limits.

    python -m tests.bench.bench_gpu_space [CASE ...]

The first case is the float16 product of 1024 x 1024 x 1024; others by their names in the suite.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from metasched import ops
from metasched.cost.machine import machine_of
from metasched.ir.stmt import Program
from metasched.search.structure import Structure
from metasched.search.structure_set import StructureSet
from metasched.space.space import Space
from metasched.target import Target
from metasched.testing import suite

_POPULATION = 8192
_REPEATS = 5


def measure(structure: Structure) -> tuple[float, float]:
    """Candidates a second (median) and the share that is valid."""
    rng = np.random.default_rng(0)
    rates: list[float] = []
    valid: list[float] = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        found = structure.evaluate(structure.sample(rng, _POPULATION))
        rates.append(_POPULATION / (time.perf_counter() - began))
        valid.append(float(found.valid.mean()))
    return float(np.median(rates)), float(np.mean(valid))


def main() -> None:
    """Print one line for each structure of each case."""
    half = ops.matmul(m=1024, n=1024, k=1024, dtype="float16", acc_dtype="float32")
    cases: dict[str, Program] = {"GMM-1024 float16": half}
    cases |= {name: suite.program(name) for name in sys.argv[1:] or ("GMM-1024", "C2D", "CBR")}
    target, space = Target("cuda:sm_90"), Space.default("cuda")
    for name, program in cases.items():
        sketches = [sketch.trace for sketch in space.on(program, target).sketches]
        found = StructureSet(program, sketches, machine_of(target))
        for structure in found.seed(np.random.default_rng(0), len(sketches)):
            rate, valid = measure(structure)
            print(f"{name:18} {structure.key[0]:2} {rate:9.0f}/s {100 * valid:5.1f} % valid")


if __name__ == "__main__":
    main()
