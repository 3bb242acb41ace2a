"""add_unit_loop: a loop of one iteration around a block or loop."""

from __future__ import annotations

from metasched.ir.expr import Var, const
from metasched.ir.stmt import For
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive, refused
from metasched.schedule.state import State


def add_unit_loop(state: State, block_or_loop: str) -> tuple[State, tuple[str, ...]]:
    """Put a loop of extent 1 around a block or loop.

    Args:
        state: where to apply.
        block_or_loop: what the new loop holds.

    Requires:
        - a loop or a block inside the root block

    ::

        with block("c"):             ->  for u in serial(1):
                                             with block("c"):
    """
    target = state.node(block_or_loop, "add_unit_loop")
    if target is state.program.root:
        raise refused(
            state, "add_unit_loop", "a loop or a block inside the root block", "the root block",
            at=block_or_loop, hint="put the loop around what is in it",
        )  # fmt: skip
    (name,) = state.fresh("u")
    return state.replace(target, For(Var(name), const(1), target)), (name,)


PRIMITIVES.register("add_unit_loop", Primitive("add_unit_loop", add_unit_loop, output="loop"))
