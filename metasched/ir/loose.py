"""Looser equalities of programs: what remains when constants, sizes, or all but one block, go.

All return programs that stand for many others; nobody runs them.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from metasched.ir.expr import Buffer, Const, Expr, Load, Var, int_value
from metasched.ir.stmt import Block, For, Program, Region, Stmt, Store, seq
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


def without_sizes(program: Program) -> Program:
    """Return the program with all its extents taken for one unknown size.

    Extents of one stay, since a loop of one is another loop nest. Sizes in conditions stay too.
    """
    buffers: dict[Buffer, Buffer] = {}

    def buffer(given: Buffer) -> Buffer:
        if given not in buffers:
            buffers[given] = replace(given, shape=tuple(map(_unsized, given.shape)))
        return buffers[given]

    def regions(given: tuple[Region, ...]) -> tuple[Region, ...]:
        return tuple(
            Region(buffer(r.buffer), tuple((low, _unsized(size)) for low, size in r.ranges))
            for r in given
        )

    def expr(given: Expr) -> Expr:
        mapped = map_expr(given, expr)
        return Load(buffer(mapped.buffer), mapped.indices) if isinstance(mapped, Load) else mapped

    def visit(stmt: Stmt) -> Stmt:
        match stmt:
            case Store():
                return Store(buffer(stmt.buffer), stmt.indices, expr(stmt.value))
            case For():
                return replace(stmt, extent=_unsized(stmt.extent), body=visit(stmt.body))
            case Block():
                return replace(
                    stmt,
                    iters=tuple(replace(i, extent=_unsized(i.extent)) for i in stmt.iters),
                    reads=regions(stmt.reads),
                    writes=regions(stmt.writes),
                    allocs=tuple(map(buffer, stmt.allocs)),
                    init=None if stmt.init is None else visit(stmt.init),
                    body=visit(stmt.body),
                )
            case _:
                return map_stmts(stmt, visit)

    root = as_block(visit(program.root))
    return replace(program, params=tuple(map(buffer, program.params)), root=root)


def _unsized(extent: Expr) -> Expr:
    value = int_value(extent)
    return extent if value in (None, 1) else Var("size", extent.dtype)


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
