"""get_loops: the loops around a block."""

from __future__ import annotations

from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.state import State


def get_loops(state: State, block: str) -> tuple[State, tuple[str, ...]]:
    """The loops around a block inside its parent block, outermost first.

    Args:
        state: where to look.
        block: the block.
    """
    above = state.loops_above(state.block(block, "get_loops"))
    return state, tuple(loop.var.name for loop in above)


PRIMITIVES.register("get_loops", Primitive("get_loops", get_loops, output="loop", many=True))
