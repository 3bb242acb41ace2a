"""How long sketches and postprocessing take: ``python -m tests.bench.bench_space [CASE ...]``.

Medians in milliseconds. Bounds: 500 for the sketches of C2D, 10 to finish one candidate of it.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from metasched.schedule.replay import replay
from metasched.schedule.samplers.site import Draw
from metasched.space.default_schedule import default_schedule
from metasched.space.space import Space
from metasched.target import Target
from metasched.testing import suite


def median_ms(run: Callable[[], object], repeats: int = 9) -> float:
    """The median time of a call."""
    samples: list[float] = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        samples.append((time.perf_counter() - start) * 1e3)
    return statistics.median(samples)


def main(names: list[str]) -> None:
    """Print one line a case."""
    target, space = Target("cpu"), Space.default()
    print(f"{'case':10}{'sketches':>10}{'time':>10}{'replay':>10}{'finish':>10}{'default':>10}")
    for name in names or list(suite.SUITE):
        program = suite.program(name)
        bound = space.on(program, target)
        sketches = bound.sketches
        draw = Draw(np.random.default_rng(0))
        candidate = replay(sketches[-1].trace, program, choices=draw)
        times = (
            median_ms(lambda p=program: space.on(p, target).sketches),
            median_ms(lambda c=candidate, p=program: replay(c.trace, p)),
            median_ms(lambda c=candidate, b=bound: b.finish(c)),
            median_ms(lambda p=program: default_schedule(p, target)),
        )
        print(f"{name:10}{len(sketches):10}" + "".join(f"{t:10.2f}" for t in times))


if __name__ == "__main__":
    main(sys.argv[1:])
