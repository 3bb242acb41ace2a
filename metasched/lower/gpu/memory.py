"""Pass: where the intermediates of one kernel live.

A buffer that each thread fills for itself is the thread's own. Threads that exchange values need
``shared`` memory, of which each block has the box that it touches; or, where a schedule leaves a
buffer in ``global`` memory, each block gets a box of its own there. `metasched.lower.buffers` finds
the boxes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from metasched.ir.expr import Buffer, Expr, Load, const, int_value
from metasched.ir.stmt import Alloc, For, Seq, Stmt, Store
from metasched.ir.threads import COMMON_SCOPES, SHARED, is_thread
from metasched.ir.walk import (
    child_stmts,
    expr_loads,
    loads,
    map_expr,
    map_exprs,
    map_stmts,
    replace_buffers,
    stmt_exprs,
)
from metasched.lower.buffers import place_buffers
from metasched.lower.gpu.kernel import PRIVATE, Axis
from metasched.lower.scope import Scope


def own_memory(stmt: Stmt, scope: Scope) -> Stmt:
    """Give ``global`` intermediates of one thread to the thread."""
    paths: dict[Buffer, list[tuple[Stmt, ...]]] = {}
    for buffer, path in _uses(stmt, ()):
        if buffer.scope == "global" and buffer not in scope.params:
            paths.setdefault(buffer, []).append(path)
    own = {b: replace(b, scope="local") for b, found in paths.items() if not _exchanged(found)}
    return replace_buffers(stmt, own) if own else stmt


def _uses(stmt: Stmt, path: tuple[Stmt, ...]) -> Iterator[tuple[Buffer, tuple[Stmt, ...]]]:
    path = (*path, stmt)
    if isinstance(stmt, Store):
        yield stmt.buffer, path
    for expr in stmt_exprs(stmt):
        yield from ((load.buffer, path) for load in expr_loads(expr))
    for child in child_stmts(stmt):
        yield from _uses(child, path)


def _exchanged(paths: list[tuple[Stmt, ...]]) -> bool:
    """Whether threads part below the innermost statement around all uses of a buffer."""
    shared = 0
    while all(len(p) > shared and p[shared] is paths[0][shared] for p in paths):
        shared += 1
    inside = (node for path in paths for node in path[shared:])
    return any(isinstance(node, For) and is_thread(node) for node in inside)


def place(body: Stmt, axes: Mapping[str, Axis], scope: Scope) -> Stmt:
    """Wrap the intermediates' uses in allocations, those of a block around the whole kernel."""
    for axis in reversed(tuple(axes.values())):
        body = For(axis.var, const(axis.extent), body, "thread", axis.name)
    body = place_buffers(body, scope)
    common: dict[Buffer, None] = {}
    body = _without_axes(body, common)
    spread = {b: _spread(b, axes) for b in common if b.scope not in SHARED}
    body = _in_own_box(body, spread, axes) if spread else body
    for buffer in common:
        body = Alloc(spread.get(buffer, buffer), body)
    return body


def _without_axes(stmt: Stmt, common: dict[Buffer, None]) -> Stmt:
    """The statement without the loops of the axes; allocations of a block are taken out."""
    match stmt:
        case For(kind="thread"):
            return _without_axes(stmt.body, common)
        case Alloc() if stmt.buffer.scope in COMMON_SCOPES:
            common[stmt.buffer] = None
            return _without_axes(stmt.body, common)
        case _:
            return map_stmts(stmt, lambda s: _without_axes(s, common))


def _grid(axes: Mapping[str, Axis]) -> list[Axis]:
    return [a for a in axes.values() if a.name.startswith("blockIdx") and a.extent > 1]


def _spread(buffer: Buffer, axes: Mapping[str, Axis]) -> Buffer:
    """A buffer with a box for each block."""
    outer = tuple(const(axis.extent) for axis in _grid(axes))
    align = tuple((axis + len(outer), factor, by) for axis, factor, by in buffer.align)
    return replace(buffer, shape=(*outer, *buffer.shape), align=align)


def _in_own_box(stmt: Stmt, spread: Mapping[Buffer, Buffer], axes: Mapping[str, Axis]) -> Stmt:
    own: tuple[Expr, ...] = tuple(axis.var for axis in _grid(axes))

    def in_expr(expr: Expr) -> Expr:
        mapped = map_expr(expr, in_expr)
        if type(mapped) is Load and (buffer := spread.get(mapped.buffer)) is not None:
            return Load(buffer, (*own, *mapped.indices))
        return mapped

    def in_stmt(node: Stmt) -> Stmt:
        node = map_stmts(node, in_stmt)
        if isinstance(node, Store) and (buffer := spread.get(node.buffer)) is not None:
            return Store(buffer, (*own, *node.indices), node.value)
        return node

    return in_stmt(map_exprs(stmt, in_expr))


def common_buffers(stmt: Stmt) -> tuple[Stmt, tuple[Buffer, ...]]:
    """A kernel's body without the allocations of its block, and their buffers."""
    found: dict[Buffer, None] = {}

    def visit(node: Stmt) -> Stmt:
        if isinstance(node, Alloc) and node.buffer.scope in COMMON_SCOPES:
            found[node.buffer] = None
            return visit(node.body)
        return map_stmts(node, visit)

    changed = visit(stmt)
    return changed, tuple(found)


def bytes_of(buffer: Buffer) -> int:
    """Bytes of a flat buffer of constant size, rounded up to whole vectors of 16 bytes."""
    size = int_value(buffer.shape[0])
    assert size is not None
    return -(-size * buffer.dtype.bytes // 16) * 16


def drop_unread(stmt: Stmt) -> Stmt:
    """Leave out what a thread only stores for itself, as a second result that nobody asks for."""
    read = {load.buffer for load in loads(stmt)}

    def visit(node: Stmt) -> Stmt:
        match node:
            case Store() if node.buffer.scope in PRIVATE and node.buffer not in read:
                return Seq(())
            case Alloc() if node.buffer.scope in PRIVATE and node.buffer not in read:
                return visit(node.body)
            case _:
                return map_stmts(node, visit)

    changed = visit(stmt)
    return changed if changed is stmt else drop_unread(changed)
