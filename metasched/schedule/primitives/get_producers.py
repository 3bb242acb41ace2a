"""get_producers: the blocks that write what it reads."""

from __future__ import annotations

from metasched.analysis.dependence import Scope
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.state import State


def get_producers(state: State, block: str) -> tuple[State, tuple[str, ...]]:
    """The blocks before a block that write what it reads, in execution order.

    Args:
        state: where to look.
        block: the block; only blocks with the same parent block count.
    """
    target = state.block(block, "get_producers")
    if target is state.program.root:
        return state, ()
    found = Scope.of(state.scope(target)).producers(target)
    return state, tuple(other.name for other in found)


PRIMITIVES.register(
    "get_producers", Primitive("get_producers", get_producers, output="block", many=True)
)
