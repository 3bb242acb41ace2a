"""vectorize: the iterations of an innermost loop in vector lanes."""

from __future__ import annotations

from dataclasses import replace

from metasched.ir.stmt import For
from metasched.schedule.primitives.loop_nest import (
    is_unit,
    why_not_constant,
    why_not_independent,
    why_not_serial,
)
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive, refused
from metasched.schedule.state import State, loops_under


def vectorize(state: State, loop: str) -> tuple[State, tuple[str, ...]]:
    """Run the iterations of a loop in the lanes of vectors.

    Args:
        state: where to apply.
        loop: the loop.

    Requires:
        - a serial loop
        - a constant extent (no size of the program)
        - an innermost loop (up to loops of extent 1)
        - a loop for spatial iterations only

    ::

        for j in serial(16):         ->  for j in vectorized(16):
    """
    target = state.loop(loop, "vectorize")
    if given := why_not_serial(target):
        hint = "a loop has one kind; split it to have another kind inside"
        raise refused(state, "vectorize", "a serial loop", given, at=loop, hint=hint)
    if given := why_not_constant(state, target):
        raise refused(
            state, "vectorize", "a constant extent", given, at=loop,
            hint="split the loop by a constant and vectorize the inner part",
        )  # fmt: skip
    inner = [other.var.name for other in loops_under(target.body) if not is_unit(other)]
    if inner:
        raise refused(
            state, "vectorize", "an innermost loop", f"one that holds loop '{inner[0]}'", at=loop,
            hint="reorder it inwards, or fuse it with the loops inside",
        )  # fmt: skip
    if given := why_not_independent(state, target):
        raise refused(
            state, "vectorize", "a loop for spatial iterations only", given, at=loop,
            hint="use rfactor to reduce in the lanes of a vector",
        )  # fmt: skip
    changed: For = replace(target, kind="vectorized")
    return state.replace(target, changed), ()


PRIMITIVES.register("vectorize", Primitive("vectorize", vectorize))
