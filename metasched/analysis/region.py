"""What whole blocks touch of a buffer, as boxes. Read `facts` first."""

from __future__ import annotations

from collections.abc import Mapping

from metasched.analysis.facts import Facts, Range
from metasched.ir.expr import Buffer, Expr, Var, const, int_value, maximum, minimum
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, Region


def whole_box(block: Block, region: Region) -> tuple[Range, ...]:
    """The box of a buffer that all iterations of a block touch, cut to the buffer."""
    own = {it.var: it.extent for it in block.iters}
    found = Facts(own).box(region, {}, own)
    return tuple(
        whole if pair is None else _cut(pair, whole[1])
        for pair, whole in zip(found, whole_buffer(region.buffer), strict=True)
    )


def whole_buffer(buffer: Buffer) -> tuple[Range, ...]:
    """The box of all elements of a buffer."""
    return tuple((const(0, size.dtype), size) for size in buffer.shape)


def _cut(pair: Range, size: Expr) -> Range:
    run = Simplifier()
    low = run(maximum(pair[0], const(0, size.dtype)))
    return low, run(minimum(pair[0] + pair[1], size) - low)


def makes_all(producer: Block, made: Region, reader: Block, used: Region) -> bool:
    """Whether all that one block may read of a buffer is written by another.

    What the reader loads under a condition counts, too: a padded access reaches over the edges.
    """
    own = {it.var: it.extent for it in producer.iters}
    domain = {it.var: it.extent for it in reader.iters}
    plain = _extents(made, own)
    if plain is not None and plain == _extents(used, domain):
        return True
    if not Facts(own).is_dense([low for low, _ in made.ranges], own):
        return False
    known = Facts(domain)
    return all(
        known.within(need, have)
        for need, have in zip(used.ranges, whole_box(producer, made), strict=True)
    )


def _extents(region: Region, domain: Mapping[Var, Expr]) -> list[Expr] | None:
    """The extents of the iterations that index an element, if each index is one of its own."""
    indices = [low for low, extent in region.ranges if int_value(extent) == 1]
    found = [domain[i] for i in indices if isinstance(i, Var) and i in domain]
    plain = len(set(indices)) == len(found) == len(region.ranges)
    return found if plain else None
