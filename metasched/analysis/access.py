"""What a leaf block reads and writes, read off its body after a rewrite."""

from __future__ import annotations

from dataclasses import replace

from metasched.ir.expr import Expr, Load, Select, select
from metasched.ir.regions import element_regions, read_accesses, write_accesses
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, Store
from metasched.ir.walk import expr_loads, map_expr


def with_regions(block: Block) -> Block:
    """The block with its read and write regions computed anew.

    A reduction with an init does not list what it accumulates into as read.
    """
    written = write_accesses(block.body)
    found = read_accesses(block.body)
    if block.init is not None:
        found = [access for access in found if access not in written]
    reads, writes = (element_regions(a, block.iters) for a in (found, written))
    return replace(block, reads=reads, writes=writes)


def single_store(block: Block) -> Store | None:
    """The only statement of a block's body if it is a store."""
    return block.body if isinstance(block.body, Store) else None


def simplify_indices(expr: Expr, simplify: Simplifier) -> Expr:
    """An expression with the indices of its loads, and conditions on indices, simplified."""

    def visit(node: Expr) -> Expr:
        mapped = map_expr(node, visit)
        match mapped:
            case Load():
                return Load(mapped.buffer, tuple(simplify(i) for i in mapped.indices))
            case Select() if not expr_loads(mapped.cond):
                return select(simplify(mapped.cond), mapped.then, mapped.other)
            case _:
                return mapped

    return visit(expr)
