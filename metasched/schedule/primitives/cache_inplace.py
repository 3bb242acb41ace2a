"""cache_inplace: a block updates a cache, between a copy that fills it and one that writes it."""

from __future__ import annotations

from metasched.analysis.dependence import Scope, direct_blocks, reads, writes
from metasched.ir.expr import Buffer
from metasched.ir.stmt import Block, seq
from metasched.ir.walk import as_block, replace_buffers
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.primitives.staging import (
    Staging,
    accessed,
    box_copy,
    cache_of,
    check_scope,
    top_statements,
    touched_box,
)
from metasched.schedule.state import State


def cache_inplace(
    state: State, block: str, read_buffer_index: int | str, storage_scope: str
) -> tuple[State, tuple[str, ...]]:
    """Let a block that reads and writes a buffer work on a cache that copies fill and store.

    Args:
        state: where to apply.
        block: the block.
        read_buffer_index: which of the buffers it reads, or its name.
        storage_scope: where the cache lives, one of `metasched.ir.scopes.STORAGE`.

    Returns:
        The block that fills the cache and the one that copies it back.

    Requires:
        - a known storage scope
        - an index or the name of a buffer that the block reads
        - a buffer that the block writes, too
        - a nest in which no other block uses the buffer

    ::

        for i in serial(64):             ->  for ax0 in serial(64):
            c[i] = c[i] + a[i]                   c_local[ax0] = c[ax0]
                                             for i in serial(64):
                                                 c_local[i] = c_local[i] + a[i]
                                             for ax0_1 in serial(64):
                                                 c[ax0_1] = c_local[ax0_1]
    """
    target = state.block(block, "cache_inplace")
    scope = Scope.of(state.scope(target))
    buffer = _check(scope, target, read_buffer_index, storage_scope)
    if isinstance(buffer, Refusal):
        raise buffer.error(state, "cache_inplace")
    cache = cache_of(state, buffer, storage_scope)
    box = touched_box(state, (target,), buffer)
    filled = box_copy(cache.name, cache, buffer, box).nest(state, target)
    changed = as_block(replace_buffers(target, {buffer: cache}))
    state = Staging(target, changed, cache, before=filled).applied(state, scope.root)
    (back,) = state.fresh(f"{cache.name}_back")
    copied = box_copy(back, buffer, cache, box).nest(state, changed)
    nest = next(s for s in top_statements(state.scope(changed)) if changed in direct_blocks(s))
    return state.replace(nest, seq(nest, copied)), (cache.name, back)


def _check(scope: Scope, block: Block, which: int | str, storage_scope: str) -> Buffer | Refusal:
    name = block.name
    region = check_scope(storage_scope, name) or accessed(block, which)
    if isinstance(region, Refusal):
        return region
    buffer = region.buffer
    if not writes(block, buffer):
        given = f"'{buffer.name}', which it only reads"
        return Refusal("a buffer that the block writes, too", given, name, "use cache_read")
    for stmt in top_statements(scope.root):
        inside = list(direct_blocks(stmt))
        others = [b.name for b in inside if b is not block and _uses(b, buffer)]
        if block in inside and others:
            rule = "a nest in which no other block uses the buffer"
            hint = "stage buffers before moving blocks"
            return Refusal(rule, f"'{others[0]}' in it", others[0], hint)
    return buffer


def _uses(block: Block, buffer: Buffer) -> bool:
    return reads(block, buffer) or writes(block, buffer)


PRIMITIVES.register(
    "cache_inplace", Primitive("cache_inplace", cache_inplace, output="block", many=True)
)
