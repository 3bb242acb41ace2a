"""What a search strategy is: it picks the next candidates from what is known so far.

Read `random_search` for the smallest member, `evolutionary` for the default.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from metasched.registry import Registry
from metasched.search.history import History
from metasched.search.mutators import DEFAULT_WEIGHTS
from metasched.search.population import Book
from metasched.search.problem import AbstractStructureSet, Ints
from metasched.search.scoring import Scorer
from metasched.trace.trace import Trace


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What a strategy works with; it belongs to the tuner.

    Attributes:
        structures: The space.
        book: Numbers of the structures met so far.
        history: What was proposed and measured.
        scorer: Predicts populations.
        rng: The only source of randomness.
    """

    structures: AbstractStructureSet
    book: Book
    history: History
    scorer: Scorer
    rng: np.random.Generator


@dataclass(frozen=True, slots=True, eq=False)
class Pick:
    """A candidate to propose.

    Attributes:
        owner: Number of its structure.
        row: Its decisions.
        score: Predicted log-seconds.
        origin: Where it is from.
        unsure: Standard deviation of the score; 0 where the model does not know it.
    """

    owner: int
    row: Ints
    score: float
    origin: str
    unsure: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """Picks, and why there will be no more (empty while there may be)."""

    picks: tuple[Pick, ...]
    end: str = ""


class AbstractStrategy(ABC):
    """Picks candidates.

    Lifecycle: one tuner owns one strategy and calls it from one thread, whenever its queue of picks
    is empty or the model has changed; picks may thus be dropped without having been proposed. A
    strategy never picks what the history has seen, makes a bounded number of attempts a call, and
    is a function of its calls and of the generator in the context.
    """

    @abstractmethod
    def propose(self, context: Context, count: int) -> Proposals:
        """Up to ``count`` new picks; none without an end means: ask again."""

    def finish(self, context: Context) -> None:  # noqa: B027  (most strategies need nothing)
        """Take in the last results; nothing more is proposed in this job."""


@dataclass(frozen=True, slots=True)
class StrategySettings:
    """What a user may set without making a strategy.

    Attributes:
        population: Candidates per generation.
        mutators: Names and weights.
        traces: What `replay` replays.
        trials: Measurements that the program can expect, for strategies with phases.
        storage: URL where a strategy may keep a study of Optuna; in memory when None.
        study: Name of such a study.
    """

    population: int = 512
    mutators: tuple[tuple[str, float], ...] = DEFAULT_WEIGHTS
    traces: tuple[Trace, ...] = ()
    trials: int = 64
    storage: str | None = None
    study: str = "metasched"


StrategyFactory: TypeAlias = Callable[[StrategySettings], AbstractStrategy]
STRATEGIES = Registry[StrategyFactory]("search strategy")


def refusals(refused: Mapping[str, int], most: int = 3) -> str:
    """The commonest reasons of refused structures, as the end of a sentence.

    >>> refusals({"loop i is dynamic": 3})
    '; structures refused: loop i is dynamic (3 times)'
    """
    common = sorted(refused.items(), key=lambda item: (-item[1], item[0]))[:most]
    return "".join(
        f"{'; structures refused: ' if k == 0 else ', '}{reason} ({count} times)"
        for k, (reason, count) in enumerate(common)
    )
