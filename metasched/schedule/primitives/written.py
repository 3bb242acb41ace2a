"""Buffers that a block writes, as the primitives on memory name them: by place or name.

Only what some block allocates may change its layout, memory or dtype; a parameter belongs to the
caller.
"""

from __future__ import annotations

from metasched.ir.expr import Buffer
from metasched.ir.walk import as_block, replace_buffers
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.primitives.staging import accessed
from metasched.schedule.state import State


def written_intermediate(state: State, block: str, which: int | str, primitive: str) -> Buffer:
    """The buffer at a position of a block's writes, or of a name, which no parameter may be.

    Raises:
        ScheduleError: there is no such position or name, or the buffer is a parameter.
    """
    found = accessed(state.block(block, primitive), which, writing=True)
    if isinstance(found, Refusal):
        raise found.error(state, primitive)
    buffer = found.buffer
    if buffer in state.program.params:
        given = f"the parameter '{buffer.name}'"
        hint = "use cache_write to have the block write an intermediate"
        raise Refusal("an intermediate buffer", given, block, hint).error(state, primitive)
    return buffer


def with_buffer(state: State, old: Buffer, new: Buffer) -> State:
    """The state with a buffer exchanged everywhere."""
    return state.with_root(as_block(replace_buffers(state.program.root, {old: new})))
