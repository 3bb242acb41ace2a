"""Pass: thread-bound loops go; in their place stands one variable for each axis of a kernel.

All loops of one axis are the same threads, so they get the same variable. The iterations of virtual
threads belong to one thread: their loops move inwards to the statements that depend on them, so
that what all of them share, such as the copy of a tile into shared memory, is done once.
"""

from __future__ import annotations

from dataclasses import replace

from metasched.errors import CodegenError
from metasched.ir.expr import Expr, Var, const, int_value
from metasched.ir.stmt import Alloc, Block, For, If, Seq, Stmt, seq
from metasched.ir.walk import (
    expr_loads,
    free_vars,
    map_stmts,
    stmt_exprs,
    stores,
    substitute_stmt,
    walk,
)
from metasched.lower.gpu.kernel import BLOCK_AXES, THREAD_AXES, Axis
from metasched.lower.scope import Scope


def check_bound(nest: Stmt) -> None:
    """Refuse a nest that is no kernel.

    Raises:
        CodegenError: a block is under no thread-bound loop, or one is under a serial loop.
    """
    _check(nest, around=(), bound=False)


def _check(stmt: Stmt, around: tuple[str, ...], bound: bool) -> None:
    match stmt:
        case For(kind="thread"):
            if around and not bound:
                raise CodegenError(
                    f"loop '{around[0]}' is around loop '{stmt.var.name}', which is bound to "
                    f"'{stmt.thread}'; bind it too, or reorder the bound loop to the outside"
                )
            _check(stmt.body, around, True)
        case For():
            single = int_value(stmt.extent) == 1
            _check(stmt.body, around if single else (*around, stmt.var.name), bound)
        case Block():
            if not bound and not _binds(stmt.body):
                raise CodegenError(
                    f"block '{stmt.name}' has no thread binding, which a GPU needs; bind a loop of "
                    "it to blockIdx.x or threadIdx.x"
                )
            _check(stmt.body, around, bound)
        case _:
            for child in _parts(stmt):
                _check(child, around, bound)


def _binds(stmt: Stmt) -> bool:
    return any(isinstance(node, For) and node.kind == "thread" for node in walk(stmt))


def _parts(stmt: Stmt) -> tuple[Stmt, ...]:
    match stmt:
        case Seq():
            return stmt.stmts
        case If():
            return (stmt.then,) if stmt.other is None else (stmt.then, stmt.other)
        case _:
            return ()


def axes_of(nest: Stmt, scope: Scope) -> dict[str, Axis]:
    """The axes of the kernel that a nest is.

    Raises:
        CodegenError: an extent is no number.
    """
    extents: dict[str, int] = {}
    for loop in walk(nest):
        if isinstance(loop, For) and loop.thread in (*BLOCK_AXES, *THREAD_AXES):
            extent = int_value(scope.simplify(loop.extent))
            if extent is None:
                raise CodegenError(
                    f"loop '{loop.var.name}' on {loop.thread} has the extent {loop.extent}; "
                    "give the sizes of the program as numbers"
                )
            extents[loop.thread] = extent
    return {name: _axis(name, extents.get(name, 1), scope) for name in (*BLOCK_AXES, *THREAD_AXES)}


def _axis(name: str, extent: int, scope: Scope) -> Axis:
    return Axis(name, scope.fresh_var(name.replace(".", "_"), const(extent)), extent)


def unify_threads(stmt: Stmt, axes: dict[str, Axis], scope: Scope) -> Stmt:
    """The nest in terms of the axes' variables, virtual threads as loops around leaves."""
    values: dict[Var, Expr] = {}

    def visit(node: Stmt) -> Stmt:
        if not isinstance(node, For) or node.kind != "thread":
            return map_stmts(node, visit)
        body = visit(node.body)
        axis = axes.get(node.thread or "")
        if axis is None:
            return _sink(replace(node, kind="unrolled", thread=None, body=body))
        values[node.var] = axis.var
        return body

    return substitute_stmt(visit(stmt), values)


def _sink(loop: For) -> Stmt:
    """A virtual thread's loop moved inwards, where its statements may run one after the other."""
    return _sunk(loop, loop.body) if _iterations_commute(loop) else replace(loop, kind="serial")


def _iterations_commute(loop: For) -> bool:
    """Whether each element that depends on the loop is one that the loop moves."""
    moved = {s.buffer for s in stores(loop) if any(_has(i, loop.var) for i in s.indices)}
    for store in stores(loop):
        if store.buffer not in moved:
            read = {load.buffer for load in expr_loads(store.value)}
            if _has(store.value, loop.var) or not read.isdisjoint(moved):
                return False
    return True


def _sunk(loop: For, body: Stmt) -> Stmt:
    match body:
        case Seq():
            return seq(*(_sunk(loop, part) for part in body.stmts))
        case For() if body.kind != "vectorized" and not _has(body.extent, loop.var):
            return replace(body, body=_sunk(loop, body.body))
        case If() if not _has(body.cond, loop.var):
            other = None if body.other is None else _sunk(loop, body.other)
            return If(body.cond, _sunk(loop, body.then), other)
        case Alloc():
            return Alloc(body.buffer, _sunk(loop, body.body))
        case _:
            return replace(loop, body=body) if _uses(body, loop.var) else body


def _uses(stmt: Stmt, var: Var) -> bool:
    return any(_has(expr, var) for node in walk(stmt) for expr in stmt_exprs(node))


def _has(expr: Expr, var: Var) -> bool:
    return var in free_vars(expr)
