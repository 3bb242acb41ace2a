"""get_block: a block by name."""

from __future__ import annotations

from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive, refused
from metasched.schedule.state import State


def get_block(state: State, name: str) -> tuple[State, tuple[str, ...]]:
    """The block of a name.

    Args:
        state: where to look.
        name: the name; ``"root"`` is the block around everything, unless the program says else.

    Requires:
        - a block of that name
    """
    blocks = state.tree.blocks
    if name not in blocks:
        by = state.removed.get(name)
        hint = f"{by} removed it" if by else f"the blocks are {', '.join(sorted(blocks))}"
        raise refused(
            state, "get_block", "a block of that name", f"'{name}'", at=None, hint=hint
        )  # fmt: skip
    return state, (name,)


PRIMITIVES.register("get_block", Primitive("get_block", get_block, output="block"))
