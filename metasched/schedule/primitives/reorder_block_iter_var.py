"""reorder_block_iter_var: the iteration variables of a block in another order."""

from __future__ import annotations

from dataclasses import replace

from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive, refused
from metasched.schedule.state import State


def reorder_block_iter_var(
    state: State, block: str, new_order: tuple[int, ...]
) -> tuple[State, tuple[str, ...]]:
    """Put the iteration variables of a block into another order; loops stay as they are.

    Args:
        state: where to apply.
        block: the block.
        new_order: the present position of each variable, in the new order.

    Requires:
        - each of the positions exactly once

    ::

        with block("c"):             ->  with block("c"):
            vi = spatial(4, i)               vk = reduce(8, k)
            vk = reduce(8, k)                vi = spatial(4, i)
    """
    target = state.block(block, "reorder_block_iter_var")
    count = len(target.iters)
    if sorted(new_order) != list(range(count)):
        raise refused(
            state, "reorder_block_iter_var", "each of the positions exactly once",
            f"{list(new_order)} for {count}", at=block,
            hint=f"give 0 to {count - 1} in the new order",
        )  # fmt: skip
    iters = tuple(target.iters[position] for position in new_order)
    return state.replace(target, replace(target, iters=iters)), ()


PRIMITIVES.register(
    "reorder_block_iter_var", Primitive("reorder_block_iter_var", reorder_block_iter_var)
)
