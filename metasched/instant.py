"""Schedules without measuring: candidates ranked by the cost model that a database keeps.

It takes a second where tuning takes many, and is right as often as the model is: what is proposed
is compiled, but it has been neither run nor checked.
"""

from __future__ import annotations

from typing import Final

from metasched.compiling import Kernel, kernel_of
from metasched.cost.evaluation import layout_of
from metasched.cost.machine import machine_of
from metasched.cost.model import COST_MODELS, AbstractCostModel
from metasched.database import AbstractDatabase, Workload
from metasched.errors import CodegenError, ScheduleError, UsageError
from metasched.ir.stmt import Program
from metasched.learning import model_features, task_name
from metasched.schedule.replay import replay
from metasched.search.strategies import STRATEGIES, StrategySettings
from metasched.search.structure_set import StructureSet
from metasched.search.tuner import Tuner
from metasched.space.postprocs import Rejected
from metasched.space.space import Space
from metasched.target import Target

_POPULATION: Final = 2048
_ASKED: Final = 64


def instant(
    program: Program,
    target: Target,
    database: AbstractDatabase,
    space: Space,
    *,
    model: str = "boosted_trees",
    strategy: str = "evolutionary",
    seed: int = 0,
) -> Kernel:
    """The kernel of the candidate that the stored model of the target expects to be fastest.

    Args:
        program: what to compile.
        target: what to compile for.
        database: holds the model.
        space: of the program.
        model: name of the cost model.
        strategy: proposes the candidates that are ranked.
        seed: of the candidates.

    Raises:
        UsageError: the database holds no such model of the target.
        ScheduleError: no candidate of the space can be built.
    """
    bound = space.on(program, target)
    sketches = [sketch.trace for sketch in bound.sketches]
    tuner = Tuner(
        StructureSet(program, sketches, machine_of(target)),
        stored_model(database, target, model),
        STRATEGIES[strategy](StrategySettings(_POPULATION, space.mutators_on(target))),
        seed=seed,
        task=task_name(Workload.from_program(program), target),
    )
    candidates = sorted(tuner.ask(_ASKED), key=lambda c: c.predicted_log_s)
    reason = tuner.end
    for candidate in candidates:
        try:
            done = bound.finish(replay(candidate.trace, program))
            if not isinstance(done, Rejected):
                return kernel_of(program, done.program, target)
            reason = done.reason
        except (ScheduleError, CodegenError) as error:
            reason = str(error).splitlines()[0]
    raise ScheduleError(
        f"none of {len(candidates)} candidates of '{program.name}' can be built: {reason}"
    )


def stored_model(database: AbstractDatabase, target: Target, kind: str) -> AbstractCostModel:
    """The model that a database keeps for a target.

    Raises:
        UsageError: there is none, or it cannot be read by this version.
    """
    text = database.load_model(target.key(), kind, model_features(target))
    if text is None:
        raise UsageError(
            f"trials=0 ranks by a saved cost model, and the database holds no '{kind}' for "
            f"{target}; tune any program with trials first, or run `metasched model train`"
        )
    model = COST_MODELS[kind](layout_of(target), 0)
    model.load(text)
    return model
