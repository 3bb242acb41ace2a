"""storage_align: gaps between the rows of an intermediate buffer."""

from __future__ import annotations

from dataclasses import replace

from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive, refused
from metasched.schedule.primitives.written import with_buffer, written_intermediate
from metasched.schedule.state import State


def storage_align(
    state: State, block: str, buffer_index: int | str, axis: int, factor: int, offset: int
) -> tuple[State, tuple[str, ...]]:
    """Pad the stride of an axis to ``k * factor + offset`` elements for some ``k``.

    Rows that start at multiples of a vector need no unaligned loads; rows an odd number of
    elements apart fall into different cache sets, or banks of shared memory. The shape stays as it
    is. A further alignment of an axis takes the place of the one before.

    Args:
        state: where to apply.
        block: a block that writes the buffer.
        buffer_index: which of the buffers it writes, or its name.
        axis: the axis whose neighbours move apart; a negative one counts from the last.
        factor: what the stride is a multiple of, in elements.
        offset: how many elements more.

    Requires:
        - an index or the name of a buffer that the block writes
        - an intermediate buffer
        - an axis of the buffer
        - a factor of at least 1
        - an offset from 0 to below the factor

    ::

        b = alloc((8, 32), "float32")    ->  b = alloc((8, 32), "float32", align=((0, 32, 1),))
        # strides (32, 1)                    # strides (33, 1)
    """
    buffer = written_intermediate(state, block, buffer_index, "storage_align")
    rank = len(buffer.shape)
    if not -rank <= axis < rank:
        rule = "an axis of the buffer"
        raise refused(state, "storage_align", rule, f"{axis} of {rank}", at=buffer.name)
    if factor < 1:
        rule = "a factor of at least 1"
        raise refused(state, "storage_align", rule, str(factor), at=buffer.name)
    if not 0 <= offset < factor:
        rule = f"an offset from 0 to below the factor {factor}"
        raise refused(state, "storage_align", rule, str(offset), at=buffer.name)
    others = (old for old in buffer.align if old[0] != axis % rank)
    align = tuple(sorted((*others, (axis % rank, factor, offset))))
    return with_buffer(state, buffer, replace(buffer, align=align)), ()


PRIMITIVES.register("storage_align", Primitive("storage_align", storage_align))
