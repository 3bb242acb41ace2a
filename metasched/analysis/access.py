"""What a block reads and writes, read off its body after a rewrite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from metasched.analysis.inside import Inside
from metasched.ir.expr import Buffer, Const, Expr, Load, Select, Var, select
from metasched.ir.regions import (
    Access,
    hull,
    misses,
    read_accesses,
    write_accesses,
)
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, Region, Stmt, Store, annotation, with_annotation
from metasched.ir.walk import blocks, expr_loads, loads, map_expr, map_stmts, stores


def with_regions(block: Block) -> Block:
    """The block, and those inside, with regions computed anew, save what was promised of them.

    A reduction with an init does not list what it accumulates into as read.
    """
    block = replace(block, body=_nested(block.body))
    inside = Inside.of(block)
    written = inside.accesses(write_accesses(block.body))
    found = inside.accesses(read_accesses(block.body))
    if block.init is not None:
        found += read_accesses(block.init)
        found = [access for access in found if access not in written]
    reads, writes = inside.boxes(found), inside.boxes(written)
    promised = {verb: explicit_regions(block, verb) for verb in EXPLICIT}
    if not any(promised.values()):
        return replace(block, reads=reads, writes=writes)
    known = Simplifier({it.var: it.extent for it in block.iters})

    def kept(computed: Region, promises: Mapping[Buffer, Region], places: list[Access]) -> Region:
        promise = promises.get(computed.buffer, computed)
        at = [indices for buffer, indices in places if buffer == computed.buffer]
        return (
            hull(promise, computed, known)
            if any(misses(promise, i, known) for i in at)
            else promise
        )

    block = replace(
        block,
        reads=tuple(kept(r, promised["read"], found) for r in reads),
        writes=tuple(kept(r, promised["write"], written) for r in writes),
    )
    for verb in EXPLICIT:
        block = with_explicit(block, verb, promised[verb])
    return block


def _nested(stmt: Stmt) -> Stmt:
    return with_regions(stmt) if isinstance(stmt, Block) else map_stmts(stmt, _nested)


EXPLICIT: Final = {"read": "explicit_read_region", "write": "explicit_write_region"}
"""Annotations of blocks: the places of the regions that `annotate_buffer_access` promised."""


def explicit_regions(block: Block, verb: str) -> dict[Buffer, Region]:
    """The regions of a block that were promised, by buffer."""
    places = annotation(block.annotations, EXPLICIT[verb])
    regions = block.reads if verb == "read" else block.writes
    known = places if isinstance(places, tuple) else ()
    return {r.buffer: r for k, r in enumerate(regions) if k in known}


def with_explicit(block: Block, verb: str, buffers: Iterable[Buffer]) -> Block:
    """The block with the annotation that the regions of some buffers are promised."""
    promised = set(buffers)
    regions = block.reads if verb == "read" else block.writes
    places = tuple(k for k, r in enumerate(regions) if r.buffer in promised)
    notes = with_annotation(block.annotations, EXPLICIT[verb], places or None)
    return replace(block, annotations=notes)


def single_store(block: Block) -> Store | None:
    """The only statement of a block's body if it is a store of one element."""
    store = block.body if isinstance(block.body, Store) else None
    return None if store is None or why_not_elementwise(block) else store


def why_not_elementwise(block: Block) -> str | None:
    """Why accesses of a block are not elements over its own iterations, or None if they are."""
    for access in (*loads(block.body), *stores(block.body)):
        if any(index.dtype.lanes > 1 for index in access.indices):
            return f"'{block.name}', which is tensorized"
    inside = blocks(block.body) + ([] if block.init is None else blocks(block.init))
    if inside:
        return f"'{block.name}', which holds block '{inside[0].name}'"
    return None


def simplify_indices(expr: Expr, simplify: Simplifier) -> Expr:
    """An expression with the indices of its loads, and conditions on indices, simplified."""

    def visit(node: Expr) -> Expr:
        if type(node) is Var or type(node) is Const:
            return node
        mapped = map_expr(node, visit)
        match mapped:
            case Load():
                return Load(mapped.buffer, tuple(simplify(i) for i in mapped.indices))
            case Select() if not expr_loads(mapped.cond):
                return select(simplify(mapped.cond), mapped.then, mapped.other)
            case _:
                return mapped

    return visit(expr)
