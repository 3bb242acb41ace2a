"""Optuna's samplers over the same decisions: TPE, CMA-ES, and NSGA-II for time and memory.

Each decision is a number from 0 to 1 that stands for a row of its table, and so is the structure,
so that every sampler sees one fixed space. Candidates that are not valid or were proposed before
are told to the study at once. A study can be kept, and then be opened with optuna-dashboard.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, final

import numpy as np

from metasched.cost.features import FEATURE_NAMES
from metasched.errors import UsageError
from metasched.search.history import Measured
from metasched.search.population import Population, padded
from metasched.search.problem import AbstractStructure, Ints
from metasched.search.strategies.random_search import no_more
from metasched.search.strategies.sampling import draw_structures
from metasched.search.strategies.strategy import (
    STRATEGIES,
    AbstractStrategy,
    Context,
    Pick,
    Proposals,
    StrategySettings,
)

_STRUCTURES: Final = 8
"""Structures that a study chooses from."""
_ATTEMPTS: Final = 8
"""So many suggestions are drawn for each pick at most."""
_STRUCTURE: Final = "structure"
_MEMORY: Final = FEATURE_NAMES.index("alloc_bytes")


@dataclass(frozen=True, slots=True)
class Kind:
    """A sampler of Optuna.

    Attributes:
        sampler: class in ``optuna.samplers``.
        package: what it needs besides Optuna, empty for nothing.
        memory: whether bytes of intermediates are minimised beside the time.
    """

    sampler: str
    package: str = ""
    memory: bool = False


KINDS: Final = {
    "optuna_tpe": Kind("TPESampler"),
    "optuna_cmaes": Kind("CmaEsSampler", package="cmaes"),
    "optuna_nsga2": Kind("NSGAIISampler", memory=True),
}


@final
class OptunaSearch(AbstractStrategy):
    """Candidates that a sampler of Optuna suggests; the cost model is not asked.

    Args:
        kind: the sampler.
        storage: URL of a storage of Optuna that keeps the study; in memory when None.
        study: name of the study; a new one with a number is begun where the name is taken.

    Raises:
        UsageError: the sampler needs a package that is not installed.
    """

    def __init__(self, kind: Kind, storage: str | None = None, study: str = "metasched") -> None:
        if kind.package:
            try:
                import_module(kind.package)
            except ImportError as error:
                raise UsageError(
                    f"{kind.sampler} needs the package '{kind.package}', which is not installed; "
                    f"pip install {kind.package}"
                ) from error
        self._kind = kind
        self._storage = storage
        self._name = study
        self._study: Any = None
        self._structures: list[int] = []
        self._width = 0
        self._out: dict[tuple[int, bytes], Any] = {}
        self._told = 0

    def propose(self, context: Context, count: int) -> Proposals:
        """Tell the study what was measured, then ask it."""
        if self._study is None:
            self._begin(context)
        if not self._structures:
            return Proposals((), no_more(context))
        self._tell(context)
        picks: list[Pick] = []
        for _ in range(_ATTEMPTS * count):
            if len(picks) == count:
                break
            pick = self._ask(context)
            if pick is not None:
                picks.append(pick)
        return Proposals(tuple(picks), "" if picks else no_more(context))

    def finish(self, context: Context) -> None:
        """Tell the study what it was not told yet."""
        if self._study is not None:
            self._tell(context)

    def _begin(self, context: Context) -> None:
        optuna = import_module("optuna")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._structures = draw_structures(context, _STRUCTURES)
        books = [context.book[number] for number in self._structures]
        self._width = max((len(one.tables) for one in books), default=0)
        sampler = getattr(optuna.samplers, self._kind.sampler)(
            seed=int(context.rng.integers(2**31))
        )
        taken: list[str] = optuna.get_all_study_names(self._storage) if self._storage else []
        names = (self._name if k == 0 else f"{self._name} #{k + 1}" for k in range(len(taken) + 1))
        self._study = optuna.create_study(
            storage=self._storage,
            study_name=next(name for name in names if name not in taken),
            sampler=sampler,
            directions=["minimize"] * (2 if self._kind.memory else 1),
        )

    def _tell(self, context: Context) -> None:
        """Results of candidates that the study suggested."""
        state = import_module("optuna").trial.TrialState
        measured = context.history.measured
        for item in measured[self._told :]:
            trial = self._out.pop((item.owner, item.row.tobytes()), None)
            if trial is None:
                continue  # known from before, or another strategy's
            if item.time_s is None:
                self._study.tell(trial, state=state.FAIL)
            else:
                self._study.tell(trial, self._values(context.book[item.owner], item))
        self._told = len(measured)
        for key in [key for key in self._out if not self._was_handed_out(context, *key)]:
            self._study.tell(self._out.pop(key), state=state.FAIL)  # dropped by the tuner

    def _was_handed_out(self, context: Context, owner: int, row: bytes) -> bool:
        rows = np.frombuffer(row, np.int64)[None, :]
        one = Population(np.array([owner]), padded(rows, 1), np.zeros(1))
        return bool(context.history.is_seen(one)[0])

    def _ask(self, context: Context) -> Pick | None:
        optuna = import_module("optuna")
        unit = optuna.distributions.FloatDistribution(0.0, 1.0)
        names = (_STRUCTURE, *(f"x{column}" for column in range(self._width)))
        trial = self._study.ask(dict.fromkeys(names, unit))
        owner = self._structures[_entry(trial.params[_STRUCTURE], len(self._structures))]
        tables = context.book[owner].tables
        row = np.array(
            [_entry(trial.params[f"x{c}"], len(table)) for c, table in enumerate(tables)], np.int64
        )
        found = context.scorer.score(np.array([owner]), row[None, :]).valid()
        if not len(found) or self._is_known(context, found, owner, row):
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return None
        self._out[owner, row.tobytes()] = trial
        return Pick(owner, row, float(found.scores[0]), "optuna")

    def _is_known(self, context: Context, found: Population, owner: int, row: Ints) -> bool:
        return bool(context.history.is_seen(found)[0]) or (owner, row.tobytes()) in self._out

    def _values(self, structure: AbstractStructure, item: Measured) -> list[float]:
        memory = [self._memory(structure, item.row)] if self._kind.memory else []
        return [item.log_s, *memory]

    def _memory(self, structure: AbstractStructure, row: Ints) -> float:
        """``log2(1 + bytes)`` of intermediates summed over stores; 0 for features of no CPU."""
        features = structure.evaluate(row[None, :]).features
        known = features.shape[2] == len(FEATURE_NAMES)
        return float(features[0, :, _MEMORY].sum()) if known else 0.0


def _entry(share: float, count: int) -> int:
    """The row of a table that a number from 0 to 1 stands for.

    >>> _entry(0.0, 3), _entry(0.5, 3), _entry(1.0, 3)
    (0, 1, 2)
    """
    return min(int(share * count), count - 1)


def _factory(kind: Kind) -> Callable[[StrategySettings], AbstractStrategy]:
    return lambda settings: OptunaSearch(kind, settings.storage, settings.study)


for _name, _kind in KINDS.items():
    STRATEGIES.register(_name, _factory(_kind))
