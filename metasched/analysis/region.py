"""What whole blocks touch of a buffer, as boxes. Read `facts` first."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from metasched.analysis.facts import Facts, Range
from metasched.ir.expr import Buffer, Expr, Var, const, int_value, less, maximum, minimum
from metasched.ir.lanes import lane_value
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, For, If, Region
from metasched.ir.walk import free_vars, stores, substitute, walk, walk_expr

_NOTHING: Final[Mapping[Var, Expr]] = {}


def whole_box(
    block: Block, region: Region, around: Mapping[Var, Expr] = _NOTHING
) -> tuple[Range, ...]:
    """The box of a buffer that all iterations of a block touch, cut to the buffer.

    Args:
        block: the block.
        region: what one of its iterations touches.
        around: the extents of the iterations of blocks around it.
    """
    own = {it.var: it.extent for it in block.iters}
    known = Facts({**around, **own})
    found = known.box(region, {}, own)
    return tuple(
        whole if pair is None else _cut(pair, whole, known.simplify, around)
        for pair, whole in zip(found, whole_buffer(region.buffer), strict=True)
    )


def whole_buffer(buffer: Buffer) -> tuple[Range, ...]:
    """The box of all elements of a buffer."""
    return tuple((const(0, size.dtype), size) for size in buffer.shape)


def _cut(pair: Range, whole: Range, run: Simplifier, around: Mapping[Var, Expr]) -> Range:
    """The part of a range that is inside; all of the inside where it may be empty."""
    low = run(maximum(pair[0], whole[0]))
    extent = run(minimum(pair[0] + pair[1], whole[1]) - low)
    # A guarded read of an outer iteration may lie past the end.
    if free_vars(extent) & around.keys() and not run.can_prove(less(whole[0], extent)):
        return whole
    return low, extent


def makes_all(
    producer: Block,
    made: Region,
    reader: Block,
    used: Region,
    around: Mapping[Var, Expr] = _NOTHING,
) -> bool:
    """Whether all that one block may read of a buffer is written by another.

    What the reader loads under a condition counts, too: a padded access reaches over the edges.
    """
    own = {it.var: it.extent for it in producer.iters}
    domain = {it.var: it.extent for it in reader.iters}
    if _alike(made, own, used, domain):
        return True
    if not fills_box(Facts({**around, **own}), producer, made, own):
        return False
    known = Facts({**around, **domain})
    return all(
        known.within(need, have)
        for need, have in zip(used.ranges, whole_box(producer, made, around), strict=True)
    )


def _alike(
    a: Region, a_domain: Mapping[Var, Expr], b: Region, b_domain: Mapping[Var, Expr]
) -> bool:
    """Whether two regions are the same but for the names of their iterations."""
    mine, others = _drivers(a, a_domain), _drivers(b, b_domain)
    if [a_domain[v] for v in mine] != [b_domain[v] for v in others]:
        return False
    names = dict(zip(others, mine, strict=True))
    return a.ranges == tuple(
        (substitute(low, names), substitute(extent, names)) for low, extent in b.ranges
    )


def _drivers(region: Region, domain: Mapping[Var, Expr]) -> list[Var]:
    """The iterations that a region depends on, in order of appearance."""
    nodes = (node for pair in region.ranges for e in pair for node in walk_expr(e))
    return list(dict.fromkeys(v for v in nodes if isinstance(v, Var) and v in domain))


def fills_box(
    known: Facts,
    block: Block,
    region: Region,
    inner: Collection[Var],
    bindings: Mapping[Var, Expr] | None = None,
) -> bool:
    """Whether a block writes every element of its region's box while the inner loops run.

    Args:
        known: the ranges of the loops.
        block: the block; what it holds runs completely each time.
        region: what it writes of a buffer.
        inner: the loops that run.
        bindings: what the iterations of the block are bound to; left out, themselves.
    """
    indices, own = [low for low, _ in region.ranges], dict[Var, Expr]()
    if any(int_value(extent) != 1 for _, extent in region.ranges):
        found = _only_store(block, region.buffer)
        if found is None:
            return False
        indices, own = found
    at = [substitute(index, bindings or {}) for index in indices]
    return known.including(own).is_dense(at, {*inner, *own})


def _only_store(block: Block, buffer: Buffer) -> tuple[list[Expr], dict[Var, Expr]] | None:
    """The indices of the only store to a buffer in a block, and the loops that move it there.

    None where there are several, or where a condition decides about it.
    """
    found = [s for s in stores(block.body) if s.buffer == buffer]
    loops: dict[Var, Expr] = {}
    for stmt in walk(block.body):
        match stmt:
            case Block() if int_value(stmt.predicate) != 1:
                return None
            case Block():
                loops.update((it.var, it.extent) for it in stmt.iters)
            case For():
                loops[stmt.var] = stmt.extent
            case If():
                return None
            case _:
                pass
    if len(found) != 1:
        return None
    lanes = max((i.dtype.lanes for i in found[0].indices), default=1)
    lane = Var("lane of a vector")
    if lanes > 1:
        loops[lane] = const(lanes)
    indices = [lane_value(i, lane) for i in found[0].indices]
    used = {v for index in indices for v in free_vars(index)}
    return indices, {var: extent for var, extent in loops.items() if var in used}
