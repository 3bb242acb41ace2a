"""cache_write: a block writes a cache, and a copy behind it writes the buffer."""

from __future__ import annotations

from collections.abc import Mapping

from metasched.analysis.dependence import Scope, direct_blocks, domain_guards
from metasched.analysis.facts import Facts
from metasched.analysis.region import whole_box
from metasched.ir.expr import Buffer
from metasched.ir.stmt import Block, Region, Stmt
from metasched.ir.walk import replace_buffers
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.primitives.staging import (
    box_copy,
    cache_of,
    check_scope,
    rebuilt,
    top_statements,
)
from metasched.schedule.state import State, edit_stmt


def cache_write(
    state: State, block: str, write_buffer_index: int, storage_scope: str
) -> tuple[State, tuple[str, ...]]:
    """Let a block write a cache, and copy the cache to the buffer behind the block's nest.

    Other blocks go on reading the buffer.

    Args:
        state: where to apply.
        block: the block.
        write_buffer_index: which of the buffers it writes.
        storage_scope: where the cache lives, one of `metasched.ir.scopes.STORAGE`.

    Returns:
        The copying block.

    Requires:
        - a known storage scope
        - an index of a buffer that the block writes
        - a block that alone writes the buffer
        - a block that writes every element of a box
        - readers of the buffer outside of the block's nest

    ::

        for i in serial(64):             ->  for i in serial(64):
            c[i] = f(...)                        c_local[i] = f(...)
                                             for ax0 in serial(64):
                                                 c[ax0] = c_local[ax0]
    """
    target = state.block(block, "cache_write")
    scope = Scope.of(state.scope(target))
    region = _check(scope, target, write_buffer_index, storage_scope)
    if isinstance(region, Refusal):
        raise region.error(state, "cache_write")
    buffer = region.buffer
    cache = cache_of(state, buffer, storage_scope)
    copy = box_copy(cache.name, buffer, cache, whole_box(target, region)).nest(state)
    stmts: list[Stmt] = []
    for stmt in top_statements(scope.root):
        inside = [b for b in direct_blocks(stmt) if b is target]
        stmts.append(_redirected(stmt, target, {buffer: cache}) if inside else stmt)
        stmts.extend([copy] if inside else [])
    return rebuilt(state, scope.root, stmts, cache), (cache.name,)


def _check(scope: Scope, block: Block, index: int, storage_scope: str) -> Region | Refusal:
    name = block.name
    if (wrong := check_scope(storage_scope, name)) is not None:
        return wrong
    if not 0 <= index < len(block.writes):
        given = f"{index} of {len(block.writes)}"
        return Refusal("an index of a buffer that the block writes", given, name)
    region = block.writes[index]
    others = [b.name for b in scope.writers(region.buffer) if b is not block]
    if others:
        hint = "use cache_write before decompose_reduction"
        rule = "a block that alone writes the buffer"
        return Refusal(rule, f"'{others[0]}' writing it too", name, hint)
    own = {it.var: it.extent for it in block.iters}
    indices = [low for low, _ in region.ranges]
    if domain_guards(block)[1] or not Facts(own).is_dense(indices, own):
        given = f"'{region.buffer.name}' written at {', '.join(map(str, indices))}"
        return Refusal("a block that writes every element of a box", given, name)
    for stmt in top_statements(scope.root):
        inside = list(direct_blocks(stmt))
        readers = [b.name for b in inside if b in scope.readers(region.buffer) and b is not block]
        if block in inside and readers:
            rule = "readers of the buffer outside of the block's nest"
            hint = "use cache_write before moving blocks"
            return Refusal(rule, f"'{readers[0]}' in it", readers[0], hint)
    return region


def _redirected(stmt: Stmt, block: Block, buffers: Mapping[Buffer, Buffer]) -> Stmt:
    changed = edit_stmt(stmt, lambda s: replace_buffers(s, buffers) if s is block else s)
    return changed or stmt


PRIMITIVES.register("cache_write", Primitive("cache_write", cache_write, output="block"))
