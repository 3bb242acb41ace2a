"""get_block: a block by name."""

from __future__ import annotations

from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.state import State


def get_block(state: State, name: str) -> tuple[State, tuple[str, ...]]:
    """The block of a name.

    Args:
        state: where to look.
        name: the name; ``"root"`` is the block around everything, unless the program says else.

    Requires:
        - there is a block of that name
    """
    return state, (state.block(name, "get_block").name,)


PRIMITIVES.register("get_block", Primitive("get_block", get_block, output="block"))
