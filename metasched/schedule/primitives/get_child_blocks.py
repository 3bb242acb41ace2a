"""get_child_blocks: the blocks in a block or loop."""

from __future__ import annotations

from metasched.analysis.dependence import direct_blocks
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.state import State


def get_child_blocks(state: State, block_or_loop: str) -> tuple[State, tuple[str, ...]]:
    """The blocks directly in a block or loop, in execution order.

    Args:
        state: where to look.
        block_or_loop: what holds them; blocks nested deeper are not listed.
    """
    body = state.node(block_or_loop, "get_child_blocks").body
    return state, tuple(block.name for block in direct_blocks(body))


PRIMITIVES.register(
    "get_child_blocks", Primitive("get_child_blocks", get_child_blocks, output="block", many=True)
)
