"""enter_postproc: the mark in a trace behind which the postprocessors' steps begin."""

from __future__ import annotations

from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.state import State


def enter_postproc(state: State) -> tuple[State, tuple[str, ...]]:
    """Mark that the steps from here on are postprocessing; the program stays as it is.

    Args:
        state: where to apply.
    """
    return state, ()


PRIMITIVES.register("enter_postproc", Primitive("enter_postproc", enter_postproc))
