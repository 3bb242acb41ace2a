"""Pass: which loops the compiler is to write out.

The loops stay loops: the compiler of the device's language writes them out. It has to where they
move elements of a thread's own array, for only then can it keep the array in registers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from metasched.ir.expr import Buffer, Expr, int_value
from metasched.ir.stmt import Alloc, For, Invoke, Stmt, Store, annotation
from metasched.ir.walk import child_stmts, expr_loads, map_stmts, stmt_exprs, walk
from metasched.lower.affine import mentions
from metasched.lower.gpu.guards import has_barrier
from metasched.lower.scope import Scope

MOST_STATEMENTS: Final = 4096
"""Statements of a written-out nest beyond which a thread's array is left in memory."""


def mark_unrolled(stmt: Stmt, scope: Scope) -> Stmt:
    """Mark the loops to write out."""
    return _marked(stmt, 0)[0]


def _marked(stmt: Stmt, limit: int) -> tuple[Stmt, int]:
    """The statement with its loops marked, and how many statements it is then written out to."""
    match stmt:
        case For():
            asked = annotation(stmt.annotations, "pragma_auto_unroll_max_step")
            limit = asked if isinstance(asked, int) else limit
            body, size = _marked(stmt.body, limit)
            loop = replace(stmt, body=body)
            extent = int_value(stmt.extent)
            if extent is None or stmt.kind not in ("serial", "unrolled"):
                return loop, size
            total = extent * size
            if stmt.kind == "unrolled":
                return loop, total
            small = total <= limit and not has_barrier(body)
            if small or (total <= MOST_STATEMENTS and _moves_own(loop)):
                return replace(loop, kind="unrolled"), total
            return loop, size
        case Store() | Invoke():
            return stmt, 1
        case _:
            sizes: list[int] = []

            def child(part: Stmt) -> Stmt:
                marked, size = _marked(part, limit)
                sizes.append(size)
                return marked

            changed = map_stmts(stmt, child)
            return changed, sum(sizes)


def _moves_own(loop: For) -> bool:
    """Whether a loop moves elements of an array of the thread."""
    return any(mentions(i, loop.var) for b, i in _places(loop.body) if b.scope == "local")


def _places(stmt: Stmt) -> Iterator[tuple[Buffer, Expr]]:
    if isinstance(stmt, Store) and stmt.indices:
        yield stmt.buffer, stmt.indices[0]
    if isinstance(stmt, Invoke):
        yield from ((o.buffer, o.indices[0]) for o in stmt.outputs)
    for expr in stmt_exprs(stmt):
        yield from ((x.buffer, x.indices[0]) for x in expr_loads(expr) if x.indices)
    for child in child_stmts(stmt):
        yield from _places(child)


def own_arrays(stmt: Stmt) -> list[Buffer]:
    """The arrays of a thread."""
    return [s.buffer for s in walk(stmt) if isinstance(s, Alloc) and s.buffer.scope == "local"]
