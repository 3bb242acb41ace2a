"""Evolutionary search as in the MetaSchedule paper, on whole populations at once.

A generation resamples the population by predicted time, varies it by mutation and crossover, and
accepts each child against its parent by an annealed Metropolis-Hastings rule. Everything that was
scored is archived; a diverse best of the archive is proposed. Read `evolve` first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import final

import numpy as np

from metasched.errors import UsageError
from metasched.search.mutators import DEFAULT_WEIGHTS, make_mutators
from metasched.search.population import EMPTY, Population, join, padded
from metasched.search.problem import Floats, Ints
from metasched.search.strategies.exhaustive import Exhaustive, total_size
from metasched.search.strategies.picking import (
    PickOptions,
    as_picks,
    pick_best,
    pick_random,
)
from metasched.search.strategies.random_search import no_more
from metasched.search.strategies.sampling import draw_structures, sample, sample_valid
from metasched.search.strategies.strategy import (
    STRATEGIES,
    AbstractStrategy,
    Context,
    Pick,
    Proposals,
    StrategySettings,
)
from metasched.search.strategies.variation import Variation

_MOST_POPULATION = 8192


@dataclass(frozen=True, slots=True)
class EvolutionOptions:
    """Settings; the defaults are MetaSchedule's where it has them.

    Attributes:
        population: Candidates per generation, at most 8192.
        generations: How often the population is varied before picks are made.
        mutate: Share of the children made by mutation; the others come from crossover.
        measured_share: Share of the first population taken from the best measured candidates.
        elite_share: Share of it taken from the best of the run before.
        structures: Structures that are alive at the start of a run.
        fresh_structures: How many of them are newly drawn in later runs.
        hot: First temperature, in log-seconds.
        cold: Last temperature.
        epsilon: Share of random picks; twice the paper's, since the model is trained on few
            results and a misleading prior then costs less.
        first_random: Share of random picks while nothing is measured.
        empty_rounds: Runs without a new candidate that end the search.
        small_space: A space of at most so many candidates is enumerated when runs find no more.
        rare: Structures below this share of a generation are dropped from it.
        picks: How a batch is made diverse.
        first_picks: The same while nothing is measured.
    """

    population: int = 512
    generations: int = 4
    mutate: float = 0.85
    measured_share: float = 0.2
    elite_share: float = 0.2
    structures: int = 6
    fresh_structures: int = 2
    hot: float = 0.5
    cold: float = 0.1
    epsilon: float = 0.1
    first_random: float = 0.25
    empty_rounds: int = 5
    small_space: int = 16384
    rare: float = 0.02
    picks: PickOptions = field(default_factory=PickOptions)
    first_picks: PickOptions = field(default_factory=lambda: PickOptions(0.7, 0.25, 0.125, 1))

    def __post_init__(self) -> None:
        if not 2 <= self.population <= _MOST_POPULATION:
            raise UsageError(
                f"population is {self.population}; expected 2 to {_MOST_POPULATION} candidates"
            )


@final
class Evolutionary(AbstractStrategy):
    """The default strategy.

    Args:
        options: Settings.
        mutators: Names and weights of the mutators.
    """

    def __init__(
        self,
        options: EvolutionOptions | None = None,
        mutators: tuple[tuple[str, float], ...] = DEFAULT_WEIGHTS,
    ) -> None:
        self._options = options or EvolutionOptions()
        self._variation = Variation(make_mutators(mutators), self._options.mutate)
        self._exhaustive = Exhaustive(self._options.small_space)
        self._elite = EMPTY
        self._more_structures = True
        self._empty = 0

    def propose(self, context: Context, count: int) -> Proposals:
        """Evolve once and pick; a small space that seems exhausted is enumerated."""
        first = self._initial(context)
        archive = self._evolve(first, context)
        fresh = archive.take(~context.history.is_seen(archive))
        if len(fresh):
            self._empty = 0
            return Proposals(self._pick(first, fresh, count, context))
        self._empty += 1
        if len(context.book) and total_size(context) <= self._options.small_space:
            return self._exhaustive.propose(context, count)
        end = no_more(context) if self._empty >= self._options.empty_rounds else ""
        return Proposals((), end)

    def _evolve(self, first: Population, context: Context) -> Population:
        """Everything that was scored, once; keeps the best as the elite of the next run."""
        if not len(first):
            return first
        archive = join(evolve(first, self._options, self._variation, context)).valid().unique()
        best = np.argsort(archive.scores, kind="stable")
        self._elite = archive.take(best[: self._share(self._options.elite_share)])
        return archive

    def _initial(self, context: Context) -> Population:
        """Best measured candidates, the elite of the last run, and fresh samples."""
        options, history = self._options, context.history
        measured = history.best(self._share(options.measured_share))
        alive = self._alive(context, measured)
        kept = join([measured, self._elite])
        kept = kept.take(np.isin(kept.owner, alive)).unique()
        drawn = sample(context, alive, options.population - len(kept))
        both = join([kept, drawn])
        first = context.scorer.score(both.owner, both.rows).valid()
        missing = options.population - len(first)
        if missing <= options.population // 2:
            return first
        return join([first, sample_valid(context, alive, missing)])

    def _alive(self, context: Context, measured: Population) -> list[int]:
        """Structures of this run: of the best measured, of the elite, and newly drawn ones."""
        limit, fresh = self._options.structures, self._options.fresh_structures
        known = list(dict.fromkeys([*measured.owner.tolist(), *self._elite.owner.tolist()]))
        wanted = max(fresh, limit - len(known)) if self._more_structures else 0
        drawn = draw_structures(context, wanted) if wanted else []
        self._more_structures = self._more_structures and len(drawn) == wanted
        if not self._more_structures:
            drawn = context.rng.permutation(len(context.book)).tolist()
        new = [number for number in dict.fromkeys(drawn) if number not in known]
        return [*known[: max(limit - fresh, limit - len(new))], *new][:limit]

    def _pick(
        self, first: Population, fresh: Population, count: int, context: Context
    ) -> tuple[Pick, ...]:
        """The best of what was never proposed, and some of the widely spread first population."""
        options, rng, book = self._options, context.rng, context.book
        blind = not context.history.measured
        share = options.first_random if blind else options.epsilon
        spread = fresh.take(np.isin(fresh.codes(), first.codes()))
        explore = pick_random(spread, int(rng.binomial(count, share)), rng)
        rest = fresh.take(~np.isin(fresh.codes(), explore.codes()))
        limits = options.first_picks if blind else options.picks
        best, unsure = pick_best(rest, count - len(explore), limits, context.scorer)
        return (*as_picks(best, "best", book, unsure), *as_picks(explore, "explore", book))

    def _share(self, share: float) -> int:
        return ceil(share * self._options.population)


def evolve(
    population: Population, options: EvolutionOptions, variation: Variation, context: Context
) -> list[Population]:
    """Run the generations; returns all populations that were scored, the first one included."""
    archive = [population]
    for step in range(options.generations):
        temperature = anneal(options, step)
        parents = resample(population, options.population, temperature, context.rng)
        parents = without_rare(parents, options.rare)
        parents, owner, rows = variation.offspring(parents, context)
        children = context.scorer.score(owner, rows)
        archive.append(children)
        population = accept(parents, children, temperature, context.rng)
    return archive


def anneal(options: EvolutionOptions, step: int) -> float:
    """Temperature of a generation: geometric from hot to cold."""
    last = max(options.generations - 1, 1)
    return options.hot * (options.cold / options.hot) ** (step / last)


def resample(
    population: Population, count: int, temperature: float, rng: np.random.Generator
) -> Population:
    """Draw ``count`` with probability ~ exp(-score / temperature), by systematic resampling."""
    weights = np.exp((population.scores.min() - population.scores) / temperature)
    ends = np.cumsum(weights) / weights.sum()
    points = (np.arange(count) + rng.random()) / count
    return population.take(np.minimum(np.searchsorted(ends, points), len(population) - 1))


def without_rare(population: Population, share: float) -> Population:
    """Drop structures with less than a share of the population, unless that drops all.

    Scoring has a fixed cost per structure, which a handful of poor candidates is not worth.
    """
    owners, counts = np.unique(population.owner, return_counts=True)
    common = owners[counts >= share * len(population)]
    return population.take(np.isin(population.owner, common)) if len(common) else population


def accept(
    parents: Population, children: Population, temperature: float, rng: np.random.Generator
) -> Population:
    """Metropolis-Hastings: keep each child with probability min(1, exp(-worse / temperature))."""
    worse: Floats = np.maximum(children.scores - parents.scores, 0.0)
    taken = rng.random(len(worse)) < np.exp(-worse / temperature)
    width = max(parents.rows.shape[1], children.rows.shape[1])
    rows: Ints = np.where(taken[:, None], padded(children.rows, width), padded(parents.rows, width))
    return Population(
        np.where(taken, children.owner, parents.owner),
        rows,
        np.where(taken, children.scores, parents.scores),
    )


def _make(settings: StrategySettings) -> AbstractStrategy:
    return Evolutionary(EvolutionOptions(settings.population), settings.mutators)


STRATEGIES.register("evolutionary", _make)
