"""Search quality in simulation: ``python -m tests.bench.bench_quality FOLDER [CASE ...]``.

FOLDER holds a database ``CASE.db`` for each case of the suite, from `metasched tune` with some 200
trials or more. For each case and number of trials, over seeds:

- ``plain``: evolution of 512 candidates over 4 generations by mutation alone; the best by
  prediction are measured, and 5 % drawn at random;
- ``default``: the search as it is;
- ``warm``: the same with a model trained on the records of all other cases, with the trials it
  takes to reach what the cold search found in 64 (``to cold 64``).

Times that are not on record are estimated from the nearest ones; see `metasched.simulation`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import geometric_mean, median

from metasched.cost.evaluation import layout_of
from metasched.cost.model import COST_MODELS, Sample
from metasched.database import open_database
from metasched.learning import all_samples
from metasched.search.strategies import STRATEGIES, AbstractStrategy, StrategySettings
from metasched.search.strategies.evolutionary import Evolutionary, EvolutionOptions
from metasched.search.strategies.picking import PickOptions
from metasched.simulation import Simulated, simulate
from metasched.target import Target
from metasched.testing import suite

TARGET = Target("cpu")
_BEST_ONLY = PickOptions(slack=0.0, structure_share=1.0, tile_share=1.0, alike=10**6, hope=0.0)


def plain(settings: StrategySettings) -> AbstractStrategy:
    """Evolution without what this project adds to it."""
    options = EvolutionOptions(
        population=512, generations=4, mutate=1.0, elite_share=0.0, epsilon=0.05,
        first_random=0.05, picks=_BEST_ONLY, first_picks=_BEST_ONLY,
    )  # fmt: skip
    return Evolutionary(options, settings.mutators)


def url(folder: Path, case: str) -> str:
    """The database of a case."""
    return f"sqlite:///{folder / case}.db"


def samples(folder: Path) -> dict[str, list[Sample]]:
    """What the records of each case teach."""
    found: dict[str, list[Sample]] = {}
    for file in sorted(folder.glob("*.db")):
        with open_database(url(folder, file.stem)) as database:
            known = all_samples(database, TARGET)
        found[file.stem] = [sample for own in known.values() for sample in own]
    return found


def taught_by(others: list[Sample]) -> str:
    """A saved model that knows these samples."""
    model = COST_MODELS["boosted_trees"](layout_of(TARGET), 0)
    model.update(others)
    return model.save()


def run(
    folder: Path, case: str, strategy: str, trials: int, seed: int, saved: str | None = None
) -> Simulated:
    """One simulated search."""
    with open_database(url(folder, case)) as database:
        return simulate(
            suite.program(case), database, target=TARGET, trials=trials, seed=seed,
            strategy=strategy, saved_model=saved,
        )  # fmt: skip


def reached(found: Simulated, seconds: float, budget: int) -> int:
    """Trials until a search was as fast as ``seconds``; twice the budget where it never was."""
    hits = (trial for trial, best in found.result.curve if best <= seconds)
    return next(hits, 2 * budget)


def best(found: Simulated) -> float:
    """The best of a search, in seconds."""
    return found.result.curve[-1][1]


def main() -> None:
    """Print a line for each case and number of trials, then what they come to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--trials", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--no-warm", action="store_true")
    given = parser.parse_args()
    STRATEGIES.register("plain", plain)
    known = {} if given.no_warm else samples(given.folder)
    cases = given.cases or sorted(file.stem for file in given.folder.glob("*.db"))
    ratios: dict[int, list[float]] = {trials: [] for trials in given.trials}
    to_cold: list[float] = []
    print("case       trials  plain us  default us  default/plain  warm us  to cold 64", flush=True)
    for case in cases:
        saved = None
        if known:
            saved = taught_by([s for other, own in known.items() if other != case for s in own])
        for trials in given.trials:
            seeds = range(given.seeds)
            old = [run(given.folder, case, "plain", trials, seed) for seed in seeds]
            new = [run(given.folder, case, "evolutionary", trials, seed) for seed in seeds]
            ratio = geometric_mean(map(best, new)) / geometric_mean(map(best, old))
            ratios[trials].append(ratio)
            line = (
                f"{case:9} {trials:7} {1e6 * median(map(best, old)):9.2f} "
                f"{1e6 * median(map(best, new)):11.2f} {ratio:14.3f}"
            )
            if saved and trials == 64:
                goal = median(map(best, new))
                warm = [run(given.folder, case, "evolutionary", 64, k, saved) for k in seeds]
                to_cold.append(geometric_mean(reached(one, goal, 64) for one in warm))
                line += f" {1e6 * median(map(best, warm)):8.2f} {to_cold[-1]:11.1f}"
            print(line, flush=True)
    for trials, found in ratios.items():
        good = sum(ratio <= 1.0 for ratio in found)
        print(
            f"{trials} trials: default/plain {geometric_mean(found):.3f}, "
            f"at least as good in {good} of {len(found)}"
        )
    if to_cold:
        print(f"warm start reaches cold 64 in {geometric_mean(to_cold):.1f} trials")


if __name__ == "__main__":
    main()
