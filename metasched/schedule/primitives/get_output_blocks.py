"""get_output_blocks: the blocks that write the outputs."""

from __future__ import annotations

from metasched.analysis.dependence import Scope
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.state import State


def get_output_blocks(state: State, scope_block: str) -> tuple[State, tuple[str, ...]]:
    """The blocks in a block that write what outlives it, in execution order.

    Args:
        state: where to look.
        scope_block: the block around them, for instance the root block.
    """
    scope = Scope.of(state.block(scope_block, "get_output_blocks"))
    return state, tuple(block.name for block in scope.blocks if scope.is_output(block))


PRIMITIVES.register(
    "get_output_blocks",
    Primitive("get_output_blocks", get_output_blocks, output="block", many=True),
)
