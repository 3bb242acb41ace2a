"""cache_read: blocks read a cache that a copy in front of them fills."""

from __future__ import annotations

from collections.abc import Sequence

from metasched.analysis.dependence import Scope, direct_blocks
from metasched.ir.expr import Buffer
from metasched.ir.stmt import Block, Stmt
from metasched.ir.walk import replace_buffers
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.primitives.staging import (
    accessed,
    box_copy,
    cache_of,
    check_scope,
    rebuilt,
    top_statements,
    touched_box,
)
from metasched.schedule.state import State, edit_stmt


def cache_read(
    state: State,
    block: str,
    read_buffer_index: int | str,
    storage_scope: str,
    consumer_blocks: tuple[str, ...] = (),
) -> tuple[State, tuple[str, ...]]:
    """Fill a cache with what is read of a buffer, and let its readers read the cache.

    The copy stands in front of the nest of the first reader.

    Args:
        state: where to apply.
        block: one of the readers.
        read_buffer_index: which of the buffers it reads, or its name.
        storage_scope: where the cache lives, one of `metasched.ir.scopes.STORAGE`.
        consumer_blocks: the readers that are to read the cache; all when none is given.

    Returns:
        The copying block.

    Requires:
        - a known storage scope
        - an index or the name of a buffer that the block reads
        - consumers that read the buffer
        - a buffer that is finished before the first nest that reads it

    ::

        for i in serial(64):             ->  for ax0 in serial(64):
            c[i] = a[i] * 2                      a_local[ax0] = a[ax0]
                                             for i in serial(64):
                                                 c[i] = a_local[i] * 2
    """
    target = state.block(block, "cache_read")
    scope = Scope.of(state.scope(target))
    consumers = [state.block(name, "cache_read") for name in consumer_blocks]
    found = _check(scope, target, read_buffer_index, storage_scope, consumers)
    if isinstance(found, Refusal):
        raise found.error(state, "cache_read")
    buffer, reading_blocks = found
    cache = cache_of(state, buffer, storage_scope)
    readers = {b.name for b in reading_blocks}
    box = touched_box(state, reading_blocks, buffer)
    copy = box_copy(cache.name, cache, buffer, box).nest(state, target)

    def change(node: Stmt) -> Stmt:
        reading = isinstance(node, Block) and node.name in readers
        return replace_buffers(node, {buffer: cache}) if reading else node

    stmts: list[Stmt] = []
    for stmt in top_statements(scope.root):
        reading = any(b.name in readers for b in direct_blocks(stmt))
        if reading and copy not in stmts:
            stmts.append(copy)
        stmts.append((edit_stmt(stmt, change) or stmt) if reading else stmt)
    return rebuilt(state, scope.root, stmts, cache), (cache.name,)


def _check(
    scope: Scope,
    block: Block,
    which: int | str,
    storage_scope: str,
    consumers: Sequence[Block],
) -> tuple[Buffer, Sequence[Block]] | Refusal:
    """The buffer to cache and the blocks that are to read the cache."""
    region = check_scope(storage_scope, block.name) or accessed(block, which)
    if isinstance(region, Refusal):
        return region
    readers = scope.readers(region.buffer)
    for consumer in consumers:
        if consumer not in readers:
            given = f"'{consumer.name}', which does not read '{region.buffer.name}'"
            return Refusal("consumers that read the buffer", given, consumer.name)
    chosen = consumers or readers
    return check_finished(scope, region.buffer, chosen) or (region.buffer, chosen)


def check_finished(scope: Scope, buffer: Buffer, readers: Sequence[Block]) -> Refusal | None:
    """Why a buffer is not complete in front of the first nest with one of some readers, or None."""
    writers = scope.writers(buffer)
    started = False
    for stmt in top_statements(scope.root):
        inside = list(direct_blocks(stmt))
        started = started or any(b in inside for b in readers)
        late = [b.name for b in writers if b in inside]
        if started and late:
            rule = "a buffer that is finished before the first nest that reads it"
            hint = "stage buffers before moving blocks"
            return Refusal(rule, f"'{buffer.name}' written by '{late[0]}'", late[0], hint)
    return None


PRIMITIVES.register("cache_read", Primitive("cache_read", cache_read, output="block"))
