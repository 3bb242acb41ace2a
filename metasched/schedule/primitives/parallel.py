"""parallel: the iterations of a loop on several cores."""

from __future__ import annotations

from dataclasses import replace

from metasched.ir.stmt import For
from metasched.schedule.primitives.loop_nest import why_not_independent, why_not_serial
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive, refused
from metasched.schedule.state import State, loops_under


def parallel(state: State, loop: str) -> tuple[State, tuple[str, ...]]:
    """Run the iterations of a loop in parallel.

    Args:
        state: where to apply.
        loop: the loop.

    Requires:
        - a serial loop
        - no parallel loop around or inside
        - a loop for spatial iterations only

    ::

        for i in serial(4):          ->  for i in parallel(4):
    """
    target = state.loop(loop, "parallel")
    if given := why_not_serial(target):
        hint = "a loop has one kind; split it to have another kind inside"
        raise refused(state, "parallel", "a serial loop", given, at=loop, hint=hint)
    nested = [
        other.var.name
        for other in (*state.loops_above(target), *loops_under(target.body))
        if other.kind == "parallel"
    ]
    if nested:
        raise refused(
            state, "parallel", "no parallel loop around or inside", f"'{nested[0]}'", at=nested[0],
            hint="fuse the loops and make the fused one parallel",
        )  # fmt: skip
    if given := why_not_independent(state, target):
        raise refused(
            state, "parallel", "a loop for spatial iterations only", given, at=loop,
            hint="use rfactor to compute parts of a reduction in parallel",
        )  # fmt: skip
    changed: For = replace(target, kind="parallel")
    return state.replace(target, changed), ()


PRIMITIVES.register("parallel", Primitive("parallel", parallel))
