"""How long proposing takes: ``python -m tests.bench.bench_search``.

The space is synthetic and its scoring almost free, so this is the search's own time; training is
shown apart.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
from time import perf_counter

from metasched.cost.baselines import AnalyticModel
from metasched.cost.boosted_trees import BoostedTrees
from metasched.cost.model import AbstractCostModel
from metasched.search.strategies.evolutionary import Evolutionary, EvolutionOptions
from metasched.search.tuner import Tuner
from metasched.testing.fake_space import LAYOUT, FakeSpace, measure


def run(model: AbstractCostModel, population: int, trials: int) -> tuple[float, float, float]:
    """First, median and worst seconds of ``ask(16)``."""
    strategy = Evolutionary(EvolutionOptions(population))
    tuner = Tuner(FakeSpace(sketches=2, locations=4), model, strategy, seed=0)
    times: list[float] = []
    for _ in range(trials // 16):
        start = perf_counter()
        candidates = tuner.ask(16)
        times.append(perf_counter() - start)
        tuner.tell(measure(candidates))
    later = sorted(times[1:])
    return times[0], later[len(later) // 2], later[-1]


def main() -> None:
    """Print a table; with --profile also where the time goes."""
    for name, make in (("analytic", AnalyticModel), ("boosted_trees", BoostedTrees)):
        for population in (512, 4096):
            first, middle, worst = (1e3 * s for s in run(make(LAYOUT, 0), population, 256))
            print(f"{name:14} population {population:5}: ask(16) first {first:6.1f} ms, "
                  f"median {middle:6.1f} ms, worst {worst:6.1f} ms")  # fmt: skip
    if "--profile" in sys.argv:
        profile = cProfile.Profile()
        profile.runcall(run, AnalyticModel(LAYOUT, 0), 512, 512)
        pstats.Stats(profile).sort_stats("tottime").print_stats(20)


if __name__ == "__main__":
    main()
