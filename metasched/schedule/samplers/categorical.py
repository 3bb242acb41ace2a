"""sample_categorical: one of some integers."""

from __future__ import annotations

import math
from collections.abc import Callable

from metasched.ir.expr import Expr, Var, const
from metasched.schedule.refusal import refused
from metasched.schedule.samplers.sampler import SAMPLERS, Sampler, decided
from metasched.schedule.samplers.site import Categorical
from metasched.schedule.state import State
from metasched.trace.instruction import Decision


def sample_categorical(
    state: State, candidates: tuple[int, ...], probs: tuple[float, ...]
) -> Categorical:
    """One of some integers; a decision is its index.

    Args:
        state: where to choose.
        candidates: the integers.
        probs: how likely each of them is.

    Requires:
        - one probability for each of one or more candidates
        - probabilities that sum to 1
        - a decision that is legal here
    """
    if not candidates or len(candidates) != len(probs):
        raise refused(
            state, "sample_categorical", "one probability for each of one or more candidates",
            f"{len(candidates)} candidates and {len(probs)} probabilities", at=None,
            hint="give [1 / n] * n for n candidates that are equally likely",
        )  # fmt: skip
    if min(probs) < 0 or not math.isclose(sum(probs), 1.0, abs_tol=1e-3):
        raise refused(
            state, "sample_categorical", "probabilities that sum to 1", str(list(probs)), at=None,
            hint="divide each of them by their sum",
        )  # fmt: skip
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
    "sample_categorical", Sampler("sample_categorical", sample_categorical, _outputs, output="expr")
)
