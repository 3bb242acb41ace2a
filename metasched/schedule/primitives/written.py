"""Buffers that a block writes, as the primitives on memory name them: by their place in its writes.

Only what some block allocates may change its layout, memory or dtype; a parameter belongs to the
caller.
"""

from __future__ import annotations

from metasched.ir.expr import Buffer
from metasched.ir.walk import as_block, replace_buffers
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.state import State


def written_intermediate(state: State, block: str, index: int, primitive: str) -> Buffer:
    """The buffer at a position of a block's writes, which no parameter may be.

    Raises:
        ScheduleError: there is no such position, or the buffer is a parameter.
    """
    target = state.block(block, primitive)
    if not 0 <= index < len(target.writes):
        given = f"{index} of {len(target.writes)}"
        rule = "an index of a buffer that the block writes"
        raise Refusal(rule, given, block).error(state, primitive)
    buffer = target.writes[index].buffer
    if buffer in state.program.params:
        given = f"the parameter '{buffer.name}'"
        hint = "use cache_write to have the block write an intermediate"
        raise Refusal("an intermediate buffer", given, block, hint).error(state, primitive)
    return buffer


def with_buffer(state: State, old: Buffer, new: Buffer) -> State:
    """The state with a buffer exchanged everywhere."""
    return state.with_root(as_block(replace_buffers(state.program.root, {old: new})))
