"""Looser equalities of programs: what remains when constants, or all but the main block, go.

Both return programs that stand for many others; nobody runs them.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from metasched.ir.expr import Const, Expr, Load, Var, int_value
from metasched.ir.stmt import Block, Program, Stmt, Store, seq
from metasched.ir.walk import (
    as_block,
    blocks,
    child_stmts,
    expr_loads,
    map_expr,
    map_stmts,
    stores,
    walk_expr,
)


def without_constants(program: Program) -> Program:
    """Return the program with its numeric constants taken for one unknown number of their type.

    These are the floating-point constants, and integers combined with elements of arrays; extents
    and indices stay, because schedules depend on them.
    """

    def visit(stmt: Stmt) -> Stmt:
        if isinstance(stmt, Store):
            return Store(stmt.buffer, stmt.indices, _blurred(stmt.value))
        return map_stmts(stmt, visit)

    return replace(program, root=as_block(visit(program.root)))


def _blurred(expr: Expr) -> Expr:
    if isinstance(expr, Load):
        return expr
    if isinstance(expr, Const) and expr.dtype.is_float:
        return Var(f"constant_{expr.dtype}", expr.dtype)
    if not expr.dtype.is_float and not expr_loads(expr):
        return expr if not isinstance(expr, Const) else Var(f"constant_{expr.dtype}", expr.dtype)
    return map_expr(expr, _blurred)


def anchor(program: Program) -> Block | None:
    """Return the block that does most of the work, ``None`` where no block stands out.

    It is a reduction, and of those the one with the most operations; the first of equals.
    """
    found = [block for block in blocks(program.root) if _is_reduction(block)]
    return max(found, key=_work, default=None)


def anchor_program(program: Program) -> Program | None:
    """Return the program of the loop nest around the anchor alone, ``None`` without an anchor."""
    main = anchor(program)
    if main is None:
        return None
    nests = child_stmts(program.root.body) if len(blocks(program.root)) > 2 else ()
    nest = next((n for n in nests if main in blocks(n)), program.root.body)
    touched = dict.fromkeys(
        (*(load.buffer for s in stores(nest) for load in expr_loads(s.value)),
         *(s.buffer for s in stores(nest)))
    )  # fmt: skip
    root = replace(program.root, body=seq(nest), allocs=())
    return Program("anchor", tuple(touched), root)


def _is_reduction(block: Block) -> bool:
    return any(axis.kind == "reduce" for axis in block.iters)


def _work(block: Block) -> float:
    size = prod(int_value(axis.extent) or 1 for axis in block.iters)
    return size * sum(1 for s in stores(block.body) for _ in walk_expr(s.value))
