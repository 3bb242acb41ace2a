"""sample_categorical: one of some numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

from metasched.errors import ScheduleError
from metasched.ir.expr import Expr, Var, const
from metasched.schedule.samplers.sampler import SAMPLERS, Sampler, decided
from metasched.schedule.samplers.site import Categorical
from metasched.schedule.state import State
from metasched.trace.instruction import Decision


def _site(state: State, candidates: tuple[int, ...], probs: tuple[float, ...]) -> Categorical:
    if not candidates or len(candidates) != len(probs):
        raise ScheduleError(
            f"sample_categorical: expected one probability per candidate and at least one, got "
            f"{len(candidates)} candidates and {len(probs)} probabilities"
        )
    if min(probs) < 0 or not math.isclose(sum(probs), 1.0, abs_tol=1e-3):
        raise ScheduleError(
            f"sample_categorical: expected probabilities that sum to 1, got {list(probs)}"
        )
    return Categorical(candidates, tuple(p / sum(probs) for p in probs))


def _outputs(
    state: State,
    decision: Decision | None,
    symbol: Callable[[int], Var],
    candidates: tuple[int, ...],
    probs: tuple[float, ...],
) -> tuple[State, tuple[Expr, ...]]:
    value = symbol(0) if decision is None else const(candidates[decided(decision)[0]])
    return state, (value,)


SAMPLERS.register(
    "sample_categorical", Sampler("sample_categorical", _site, _outputs, output="expr")
)
