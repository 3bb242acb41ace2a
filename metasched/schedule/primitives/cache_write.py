"""cache_write: a block writes a cache, and a copy behind it writes the buffer."""

from __future__ import annotations

from collections.abc import Sequence

from metasched.analysis.dependence import Scope, direct_blocks, reads
from metasched.analysis.facts import Facts
from metasched.analysis.region import fills_box, makes_all, whole_box
from metasched.ir.expr import Buffer
from metasched.ir.stmt import Block, Region
from metasched.ir.walk import as_block, replace_buffers
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.primitives.staging import (
    Staging,
    accessed,
    box_copy,
    cache_of,
    check_scope,
    conditional,
    top_statements,
)
from metasched.schedule.state import State


def cache_write(
    state: State,
    block: str,
    write_buffer_index: int | str,
    storage_scope: str,
    consumer_blocks: tuple[str, ...] = (),
) -> tuple[State, tuple[str, ...]]:
    """Let a block write a cache, and copy the cache to the buffer behind the block's nest.

    Other blocks go on reading the buffer, unless they are named.

    Args:
        state: where to apply.
        block: the block.
        write_buffer_index: which of the buffers it writes, or its name.
        storage_scope: where the cache lives, one of `metasched.ir.scopes.STORAGE`.
        consumer_blocks: the readers of the buffer that are to read the cache instead.

    Returns:
        The copying block.

    Requires:
        - a known storage scope
        - an index or the name of a buffer that the block writes
        - a block that alone writes the buffer
        - a block that does not read what it writes
        - a block that writes every element of a box
        - readers of the buffer outside of the block's nest
        - consumers that read only what the block writes

    ::

        for i in serial(64):             ->  for i in serial(64):
            c[i] = f(...)                        c_local[i] = f(...)
                                             for ax0 in serial(64):
                                                 c[ax0] = c_local[ax0]
    """
    target = state.block(block, "cache_write")
    scope = Scope.of(state.scope(target))
    region = _check(state, scope, target, write_buffer_index, storage_scope)
    if isinstance(region, Refusal):
        raise region.error(state, "cache_write")
    buffer = region.buffer
    consumers = [state.block(name, "cache_write") for name in consumer_blocks]
    if (wrong := _check_consumers(state, scope, target, region, consumers)) is not None:
        raise wrong.error(state, "cache_write")
    cache = cache_of(state, buffer, storage_scope)
    box = whole_box(target, region, state.iters_around(target))
    copy = box_copy(cache.name, buffer, cache, box).nest(state, target)
    changed = as_block(replace_buffers(target, {buffer: cache}))
    new = Staging(target, changed, cache, behind=copy).applied(state, scope.root)
    for consumer in consumers:
        new = new.replace(consumer, replace_buffers(consumer, {buffer: cache}))
    return new, (cache.name,)


def _check(
    state: State, scope: Scope, block: Block, which: int | str, storage_scope: str
) -> Region | Refusal:
    wrong = check_scope(storage_scope, block.name)
    region = wrong or accessed(block, which, writing=True)
    if isinstance(region, Refusal):
        return region
    own = {it.var: it.extent for it in block.iters}
    known = Facts({**state.iters_around(block), **own})
    if (wrong := check_write(scope, block, region.buffer)) is not None:
        return wrong
    if conditional(state, block) or not fills_box(known, block, region, own):
        indices = ", ".join(str(low) for low, _ in region.ranges)
        given = f"'{region.buffer.name}' written at {indices}"
        return Refusal("a block that writes every element of a box", given, block.name)
    return region


def _check_consumers(
    state: State, scope: Scope, block: Block, made: Region, consumers: Sequence[Block]
) -> Refusal | None:
    around = state.iters_around(block)
    for consumer in consumers:
        used = [r for r in consumer.reads if r.buffer == made.buffer]
        behind = consumer in scope.consumers(block) and bool(used)
        if not behind or not all(makes_all(block, made, consumer, r, around) for r in used):
            given = f"'{consumer.name}'" + (", which reads more" if behind else "")
            return Refusal("consumers that read only what the block writes", given, consumer.name)
    return None


def check_write(scope: Scope, block: Block, buffer: Buffer) -> Refusal | None:
    """Why a block cannot write a cache that is copied behind its nest, or None."""
    name = block.name
    others = [b.name for b in scope.writers(buffer) if b is not block]
    if others:
        rule = "a block that alone writes the buffer"
        hint = "stage buffers before decompose_reduction"
        return Refusal(rule, f"'{others[0]}' writing it too", name, hint)
    if reads(block, buffer):
        given = f"'{name}', which reads '{buffer.name}' first"
        hint = "use cache_inplace"
        return Refusal("a block that does not read what it writes", given, name, hint)
    for stmt in top_statements(scope.root):
        inside = list(direct_blocks(stmt))
        readers = [b.name for b in inside if b in scope.readers(buffer)]
        if block in inside and readers:
            rule = "readers of the buffer outside of the block's nest"
            hint = "stage buffers before moving blocks"
            return Refusal(rule, f"'{readers[0]}' in it", readers[0], hint)
    return None


PRIMITIVES.register("cache_write", Primitive("cache_write", cache_write, output="block"))
