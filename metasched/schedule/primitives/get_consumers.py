"""get_consumers: the blocks that read what it writes."""

from __future__ import annotations

from metasched.analysis.dependence import Scope
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.state import State


def get_consumers(state: State, block: str) -> tuple[State, tuple[str, ...]]:
    """The blocks behind a block that read what it writes, in execution order.

    Args:
        state: where to look.
        block: the block; only blocks with the same parent block count.
    """
    target = state.block(block, "get_consumers")
    if target is state.program.root:
        return state, ()
    found = Scope.of(state.scope(target)).consumers(target)
    return state, tuple(other.name for other in found)


PRIMITIVES.register(
    "get_consumers", Primitive("get_consumers", get_consumers, output="block", many=True)
)
