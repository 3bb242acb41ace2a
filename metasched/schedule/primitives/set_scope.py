"""set_scope: another memory for an intermediate buffer."""

from __future__ import annotations

from dataclasses import replace

from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.primitives.staging import check_scope
from metasched.schedule.primitives.written import with_buffer, written_intermediate
from metasched.schedule.state import State


def set_scope(
    state: State, block: str, buffer_index: int | str, storage_scope: str
) -> tuple[State, tuple[str, ...]]:
    """Let an intermediate buffer live in another memory; its name says so.

    A CPU has one kind of memory: "global", "local", "shared" and "shared.dyn" are plain memory
    there, and a program with a buffer in another scope is refused when it is lowered for a CPU.

    Args:
        state: where to apply.
        block: a block that writes the buffer.
        buffer_index: which of the buffers it writes, or its name.
        storage_scope: one of `metasched.ir.scopes.STORAGE`.

    Requires:
        - a known storage scope
        - an index or the name of a buffer that the block writes
        - an intermediate buffer

    ::

        b = alloc((64,), "float32")      ->  b_shared = alloc((64,), "float32", scope="shared")
        for i in serial(64):                 for i in serial(64):
            b[i] = a[i] * 2                      b_shared[i] = a[i] * 2
    """
    buffer = written_intermediate(state, block, buffer_index, "set_scope")
    if (wrong := check_scope(storage_scope, block)) is not None:
        raise wrong.error(state, "set_scope")
    if buffer.scope == storage_scope:
        return state, ()
    (name,) = state.fresh(f"{buffer.name}_{storage_scope.replace('.', '_')}")
    moved = replace(buffer, name=name, scope=storage_scope)
    return with_buffer(state, buffer, moved), ()


PRIMITIVES.register("set_scope", Primitive("set_scope", set_scope))
