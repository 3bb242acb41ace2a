"""unroll: the iterations of a loop written out."""

from __future__ import annotations

from dataclasses import replace

from metasched.ir.stmt import For
from metasched.schedule.primitives.loop_nest import why_not_constant, why_not_serial
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive, refused
from metasched.schedule.state import State


def unroll(state: State, loop: str) -> tuple[State, tuple[str, ...]]:
    """Write the iterations of a loop out one after the other.

    Args:
        state: where to apply.
        loop: the loop.

    Requires:
        - a serial loop
        - a constant extent (no size of the program)

    ::

        for k in serial(4):          ->  for k in unrolled(4):
    """
    target = state.loop(loop, "unroll")
    if given := why_not_serial(target):
        hint = "a loop has one kind; split it to have another kind inside"
        raise refused(state, "unroll", "a serial loop", given, at=loop, hint=hint)
    if given := why_not_constant(state, target):
        raise refused(
            state, "unroll", "a constant extent", given, at=loop,
            hint="split the loop by a constant and unroll the inner part",
        )  # fmt: skip
    changed: For = replace(target, kind="unrolled")
    return state.replace(target, changed), ()


PRIMITIVES.register("unroll", Primitive("unroll", unroll))
