"""Generic traversal: children, mapping, walking, substitution and the common queries.

Passes use these with `match` statements; there are no visitor classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import cast as typing_cast

from metasched.ir.expr import (
    Binary,
    Broadcast,
    Buffer,
    Call,
    Cast,
    Const,
    Expr,
    Extern,
    Load,
    Ramp,
    Select,
    Var,
    binary,
    cast,
    select,
)
from metasched.ir.stmt import (
    Alloc,
    Block,
    For,
    If,
    Invoke,
    IterVar,
    Region,
    Seq,
    Stmt,
    Store,
    seq,
)


def expr_children(expr: Expr) -> tuple[Expr, ...]:
    """The direct sub-expressions."""
    match expr:
        case Binary():
            return (expr.a, expr.b)
        case Call() | Extern():
            return expr.args
        case Cast():
            return (expr.value,)
        case Select():
            return (expr.cond, expr.then, expr.other)
        case Load():
            return expr.indices
        case Ramp():
            return (expr.base, expr.stride)
        case Broadcast():
            return (expr.value,)
        case _:
            return ()


def map_expr(expr: Expr, f: Callable[[Expr], Expr]) -> Expr:
    """Rebuild an expression with ``f`` applied to its direct children, folding constants."""
    match expr:
        case Var() | Const():
            return expr
        case Binary():
            a, b = f(expr.a), f(expr.b)
            return expr if a is expr.a and b is expr.b else binary(expr.op, a, b)
        case Call():
            args = tuple(f(x) for x in expr.args)
            return expr if _same(args, expr.args) else Call(expr.fn, args)
        case Extern():
            args = tuple(f(x) for x in expr.args)
            return expr if _same(args, expr.args) else Extern(expr.fn, args, expr.dtype)
        case Cast():
            value = f(expr.value)
            return expr if value is expr.value else cast(value, expr.dtype)
        case Select():
            parts = (f(expr.cond), f(expr.then), f(expr.other))
            return expr if _same(parts, expr_children(expr)) else select(*parts)
        case Load():
            indices = tuple(f(i) for i in expr.indices)
            return expr if _same(indices, expr.indices) else Load(expr.buffer, indices)
        case Ramp():
            return Ramp(f(expr.base), f(expr.stride), expr.lanes)
        case Broadcast():
            return Broadcast(f(expr.value), expr.lanes)
        case _:
            raise TypeError(f"not an expression: {expr!r}")


def _same(new: tuple[object, ...], old: tuple[object, ...]) -> bool:
    return all(a is b for a, b in zip(new, old, strict=True))


def walk_expr(expr: Expr) -> Iterator[Expr]:
    """Every sub-expression, parents first."""
    stack = [expr]
    while stack:
        node = stack.pop()
        yield node
        if type(node) is Binary:
            stack += (node.b, node.a)
        elif type(node) is not Var and type(node) is not Const:
            stack.extend(reversed(expr_children(node)))


def child_stmts(stmt: Stmt) -> tuple[Stmt, ...]:
    """The direct sub-statements, a block's init first."""
    match stmt:
        case For():
            return (stmt.body,)
        case Block():
            return (stmt.body,) if stmt.init is None else (stmt.init, stmt.body)
        case Seq():
            return stmt.stmts
        case If():
            return (stmt.then,) if stmt.other is None else (stmt.then, stmt.other)
        case Alloc():
            return (stmt.body,)
        case _:
            return ()


def map_stmts(stmt: Stmt, f: Callable[[Stmt], Stmt]) -> Stmt:
    """Rebuild a statement with ``f`` applied to its direct sub-statements."""
    match stmt:
        case For():
            body = f(stmt.body)
            return stmt if body is stmt.body else replace(stmt, body=body)
        case Block():
            init = None if stmt.init is None else f(stmt.init)
            body = f(stmt.body)
            same = body is stmt.body and init is stmt.init
            return stmt if same else replace(stmt, init=init, body=body)
        case Seq():
            parts = tuple(f(s) for s in stmt.stmts)
            return stmt if _same(parts, stmt.stmts) else seq(*parts)
        case If():
            then = f(stmt.then)
            other = None if stmt.other is None else f(stmt.other)
            same = then is stmt.then and other is stmt.other
            return stmt if same else If(stmt.cond, then, other)
        case Alloc():
            body = f(stmt.body)
            return stmt if body is stmt.body else Alloc(stmt.buffer, body)
        case _:
            return stmt


def map_exprs(stmt: Stmt, f: Callable[[Expr], Expr]) -> Stmt:
    """Rebuild a whole statement tree with ``f`` applied to each outermost expression."""

    def visit(node: Stmt) -> Stmt:
        match node:
            case Store():
                indices = tuple(f(i) for i in node.indices)
                value = f(node.value)
                same = value is node.value and _same(indices, node.indices)
                return node if same else Store(node.buffer, indices, value)
            case For():
                extent, body = f(node.extent), visit(node.body)
                same = extent is node.extent and body is node.body
                return node if same else replace(node, extent=extent, body=body)
            case If():
                other = None if node.other is None else visit(node.other)
                return If(f(node.cond), visit(node.then), other)
            case Invoke():
                args = tuple(f(a) for a in node.args)
                outputs = tuple(as_load(f(o)) for o in node.outputs)
                same = _same(args, node.args) and _same(outputs, node.outputs)
                return node if same else Invoke(node.fn, outputs, args)
            case Block():
                return replace(
                    node,
                    iters=tuple(
                        IterVar(i.var, f(i.extent), i.kind, f(i.binding)) for i in node.iters
                    ),
                    reads=tuple(map_region(r, f) for r in node.reads),
                    writes=tuple(map_region(r, f) for r in node.writes),
                    predicate=f(node.predicate),
                    init=None if node.init is None else visit(node.init),
                    body=visit(node.body),
                )
            case _:
                return map_stmts(node, visit)

    return visit(stmt)


def map_region(region: Region, f: Callable[[Expr], Expr]) -> Region:
    """A region with ``f`` applied to its bounds."""
    return Region(region.buffer, tuple((f(low), f(extent)) for low, extent in region.ranges))


def walk(stmt: Stmt) -> Iterator[Stmt]:
    """Every statement, parents first, in program order."""
    stack = [stmt]
    while stack:
        node = stack.pop()
        yield node
        if type(node) is For:
            stack.append(node.body)
        elif type(node) is not Store:
            stack.extend(reversed(child_stmts(node)))


def stmt_exprs(stmt: Stmt) -> tuple[Expr, ...]:
    """The outermost expressions that a statement itself holds (not those of sub-statements)."""
    match stmt:
        case Store():
            return (*stmt.indices, stmt.value)
        case For():
            return (stmt.extent,)
        case If():
            return (stmt.cond,)
        case Invoke():
            return (*(i for o in stmt.outputs for i in o.indices), *stmt.args)
        case Block():
            bounds = (e for r in (*stmt.reads, *stmt.writes) for pair in r.ranges for e in pair)
            domains = (e for i in stmt.iters for e in (i.extent, i.binding))
            return (*domains, *bounds, stmt.predicate)
        case _:
            return ()


def substitute(expr: Expr, values: Mapping[Var, Expr]) -> Expr:
    """``expr`` with variables replaced, folding constants on the way."""
    if not values or type(expr) is Const:
        return expr

    def visit(node: Expr) -> Expr:
        if type(node) is Var:
            return values.get(node, node)
        return node if type(node) is Const else map_expr(node, visit)

    return visit(expr)


def substitute_stmt(stmt: Stmt, values: Mapping[Var, Expr]) -> Stmt:
    """``stmt`` with free variables replaced (names are unique, so nothing is captured)."""
    return map_exprs(stmt, lambda e: substitute(e, values)) if values else stmt


def replace_buffers(stmt: Stmt, buffers: Mapping[Buffer, Buffer]) -> Stmt:
    """``stmt`` with buffers exchanged in loads, stores, regions and allocations."""

    def in_expr(expr: Expr) -> Expr:
        mapped = map_expr(expr, in_expr)
        if type(mapped) is Load and mapped.buffer in buffers:
            return Load(buffers[mapped.buffer], mapped.indices)
        return mapped

    def in_regions(regions: tuple[Region, ...]) -> tuple[Region, ...]:
        return tuple(Region(buffers.get(r.buffer, r.buffer), r.ranges) for r in regions)

    def in_stmt(node: Stmt) -> Stmt:
        node = map_stmts(node, in_stmt)
        match node:
            case Store() if node.buffer in buffers:
                return Store(buffers[node.buffer], node.indices, node.value)
            case Alloc() if node.buffer in buffers:
                return Alloc(buffers[node.buffer], node.body)
            case Block():
                return replace(
                    node,
                    reads=in_regions(node.reads),
                    writes=in_regions(node.writes),
                    allocs=tuple(buffers.get(b, b) for b in node.allocs),
                )
            case _:
                return node

    return in_stmt(map_exprs(stmt, in_expr))


def free_vars(expr: Expr) -> set[Var]:
    """The variables in an expression."""
    if type(expr) is Var:
        return {expr}
    found: set[Var] = set()
    stack = [expr]
    while stack:
        node = stack.pop()
        if type(node) is Var:
            found.add(node)
        elif type(node) is Binary:
            stack += (node.a, node.b)
        elif type(node) is not Const:
            stack += expr_children(node)
    return found


def expr_loads(expr: Expr) -> list[Load]:
    """The loads in an expression, outermost first."""
    if type(expr) is Var or type(expr) is Const:
        return []
    return [node for node in walk_expr(expr) if type(node) is Load]


def loads(stmt: Stmt) -> list[Load]:
    """The loads that a statement tree executes (block regions do not count)."""
    found: list[Load] = []
    for node in walk(stmt):
        if not isinstance(node, Block):
            for expr in stmt_exprs(node):
                found.extend(expr_loads(expr))
    return found


def stores(stmt: Stmt) -> list[Store]:
    """The stores of a statement tree in program order."""
    return [node for node in walk(stmt) if type(node) is Store]


def blocks(stmt: Stmt) -> list[Block]:
    """The blocks of a statement tree in program order, outer ones first."""
    return [node for node in walk(stmt) if type(node) is Block]


def written_buffers(stmt: Stmt) -> set[Buffer]:
    """The buffers that some store or procedure writes."""
    found = {store.buffer for store in stores(stmt)}
    for node in walk(stmt):
        if isinstance(node, Invoke):
            found.update(output.buffer for output in node.outputs)
    return found


def names(stmt: Stmt) -> set[str]:
    """Every name in use: loop and iteration variables, blocks and buffers."""
    used: set[str] = set()
    for node in walk(stmt):
        match node:
            case For():
                used.add(node.var.name)
            case Block():
                used.add(node.name)
                used.update([i.var.name for i in node.iters])
                used.update([b.name for b in node.allocs])
                used.update([r.buffer.name for r in (*node.reads, *node.writes)])
            case Store():
                used.add(node.buffer.name)
            case _:
                pass
    return used


def bound_inside(stmt: Stmt) -> Iterator[tuple[Var, Expr]]:
    """The loop and iteration variables of a statement tree with their extents."""
    for node in walk(stmt):
        match node:
            case For():
                yield node.var, node.extent
            case Block():
                yield from ((axis.var, axis.extent) for axis in node.iters)
            case _:
                pass


def fresh_name(base: str, used: set[str]) -> str:
    """``base``, or ``base_1``, ``base_2``... whichever is free; the caller adds it to ``used``.

    >>> fresh_name("i", {"i", "i_1"})
    'i_2'
    """
    if base not in used:
        return base
    number = 1
    while f"{base}_{number}" in used:
        number += 1
    return f"{base}_{number}"


def as_load(expr: Expr) -> Load:
    """Narrow an expression that is known to be a load."""
    return typing_cast(Load, expr)


def as_block(stmt: Stmt) -> Block:
    """Narrow a statement that is known to be a block."""
    return typing_cast(Block, stmt)
