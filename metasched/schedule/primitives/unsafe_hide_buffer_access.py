"""unsafe_hide_buffer_access: buffers left out of what a block says that it reads or writes."""

from __future__ import annotations

from dataclasses import replace

from metasched.analysis.access import explicit_regions, with_explicit
from metasched.ir.stmt import HIDDEN, hidden_accesses, with_annotation
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive, refused
from metasched.schedule.state import State


def unsafe_hide_buffer_access(
    state: State, block: str, buf_type: str, buf_index_array: tuple[int, ...]
) -> tuple[State, tuple[str, ...]]:
    """Leave buffers out of what a block says that it reads or writes.

    The block computes what it did. A tensor intrinsic that knows nothing of a table of indices
    then matches a block that looks its operands up in one. Unsafe: other primitives see no
    dependence on what is hidden, so whoever hides a buffer keeps its producers finished before the
    block, and its consumers behind it. An annotation says that reads or writes are hidden; a
    primitive that rewrites what the block computes lists them again.

    Args:
        state: where to apply.
        block: the block.
        buf_type: ``"read"`` or ``"write"``.
        buf_index_array: which of the buffers that it says it reads, or writes.

    Requires:
        - a buf_type that is 'read' or 'write'
        - indices of buffers that the block reads (or writes)

    ::

        with block("b"):                 ->  with block("b"):
            reads(at[vi], a[at[vi]])             reads(a[at[vi]])
            writes(b[vi])                        writes(b[vi])
            b[vi] = a[at[vi]]                    annotations({"hidden": ("read",)})
                                                 b[vi] = a[at[vi]]
    """
    target = state.block(block, "unsafe_hide_buffer_access")
    if buf_type not in ("read", "write"):
        raise refused(
            state, "unsafe_hide_buffer_access", "a buf_type that is 'read' or 'write'",
            f"'{buf_type}'", at=block,
        )  # fmt: skip
    regions = target.reads if buf_type == "read" else target.writes
    wrong = [k for k in buf_index_array if not 0 <= k < len(regions)]
    if wrong:
        raise refused(
            state, "unsafe_hide_buffer_access", f"indices of buffers that the block {buf_type}s",
            f"{wrong[0]} of {len(regions)}", at=block,
        )  # fmt: skip
    kept = tuple(r for k, r in enumerate(regions) if k not in buf_index_array)
    if len(kept) == len(regions):
        return state, ()
    hidden = {buf_type, *hidden_accesses(target)}
    notes = with_annotation(target.annotations, HIDDEN, tuple(sorted(hidden)))
    reads, writes = (kept, target.writes) if buf_type == "read" else (target.reads, kept)
    promised = explicit_regions(target, buf_type)
    changed = replace(target, reads=reads, writes=writes, annotations=notes)
    return state.replace(target, with_explicit(changed, buf_type, promised)), ()


PRIMITIVES.register(
    "unsafe_hide_buffer_access", Primitive("unsafe_hide_buffer_access", unsafe_hide_buffer_access)
)
