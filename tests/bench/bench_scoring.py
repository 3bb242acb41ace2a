"""How fast candidates are scored and proposed: ``python -m tests.bench.bench_scoring [CASE ...]``.

For each case: candidates a second through validity, features and a model trained on 64 results, in
the main sketch (the structure with the largest space among those drawn), none of them seen before;
and the seconds to propose 64 candidates out of a population of 8,192 over 4 generations. Bounds:
50,000 a second and 1 s.
"""

from __future__ import annotations

import argparse
from time import perf_counter

import numpy as np

from metasched.cost.evaluation import layout_of
from metasched.cost.machine import machine_of
from metasched.cost.model import COST_MODELS
from metasched.search.problem import Ints
from metasched.search.records import Candidate, Outcome, Result
from metasched.search.strategies.evolutionary import Evolutionary, EvolutionOptions
from metasched.search.structure import Structure
from metasched.search.structure_set import StructureSet
from metasched.search.tuner import Tuner
from metasched.space.space import Space
from metasched.target import Target
from metasched.testing import suite

CASES = ("GMM-512", "C2D", "CBR")
POPULATION = 8192
TARGET = Target("cpu")


def structures_of(case: str) -> StructureSet:
    """The space of a case."""
    program = suite.program(case)
    bound = Space.default("cpu").on(program, TARGET)
    sketches = [sketch.trace for sketch in bound.sketches]
    return StructureSet(program, sketches, machine_of(TARGET))


def tuner_of(structures: StructureSet) -> Tuner:
    """A tuner of a large population whose model has learned from 64 results."""
    model = COST_MODELS["boosted_trees"](layout_of(TARGET), 0)
    strategy = Evolutionary(EvolutionOptions(POPULATION))
    tuner = Tuner(structures, model, strategy, seed=0)
    tuner.tell(pretended(tuner.ask(64)))
    tuner.learn_rest()
    return tuner


def pretended(candidates: tuple[Candidate, ...]) -> list[Result]:
    """Times near the predicted ones."""
    rng = np.random.default_rng(0)
    noise = np.exp(0.2 * rng.standard_normal(len(candidates)))
    return [
        Result(c.id, Outcome.OK, float(np.exp(c.predicted_log_s) * n))
        for c, n in zip(candidates, noise, strict=True)
    ]


def scored_a_second(structure: Structure, tuner: Tuner, batches: int = 5) -> float:
    """Candidates a second, the best of several batches."""
    rng = np.random.default_rng(1)
    best = 0.0
    for _ in range(batches):
        rows: Ints = structure.sample(rng, POPULATION)
        begin = perf_counter()
        seen = structure.evaluate(rows)
        tuner.model.predict(seen.features[seen.valid], seen.prior_s[seen.valid])
        best = max(best, POPULATION / (perf_counter() - begin))
    return best


def proposing_s(tuner: Tuner, batches: int = 3) -> float:
    """Seconds to propose 64, the best of several; each evolves anew."""
    best = np.inf
    for _ in range(batches):
        begin = perf_counter()
        asked = tuner.ask(64)
        best = min(best, perf_counter() - begin)
        tuner.tell(pretended(asked))
        tuner.learn_rest()
    return best


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*", default=CASES)
    print("case       stores  candidates/s  propose 64 of 8192 x 4, s")
    for case in parser.parse_args().cases:
        structures = structures_of(case)
        drawn = structures.seed(np.random.default_rng(0), 8)
        main_one = max(drawn, key=lambda structure: structure.size())
        tuner = tuner_of(structures)
        rate, seconds = scored_a_second(main_one, tuner), proposing_s(tuner)
        print(f"{case:9} {len(main_one.summary.stores):7} {rate:13.0f} {seconds:10.2f}", flush=True)


if __name__ == "__main__":
    main()
