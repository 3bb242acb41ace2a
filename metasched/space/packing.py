"""Which operands of a tiled reduction are worth packing, and in which order.

A vectorised loop loads best from memory that it walks element by element. An operand that it walks
otherwise, such as a transposed matrix, is copied tile by tile into a buffer whose last dimension is
that loop. Rows far apart are packed too: they fall on few cache sets and on a page each (Goto and
van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 2008).
"""

from __future__ import annotations

from dataclasses import dataclass

from metasched.ir.expr import Load, Var, int_value
from metasched.ir.simplify import product
from metasched.ir.stmt import Block
from metasched.space.patterns import body_loads, index_iters, iters_of, stride


@dataclass(frozen=True, slots=True)
class Packing:
    """One operand to pack.

    Attributes:
        read: number of its region among the block's reads.
        order: positions of the iteration variables that index the packed buffer.
        strided: whether the vectorised loop jumps in the operand as it is.
    """

    read: int
    order: tuple[int, ...]
    strided: bool


def packings(block: Block, *, row_bytes: int, least_reuse: int) -> tuple[Packing, ...]:
    """The operands of a reduction that are worth packing.

    Args:
        block: the reduction; its last spatial variable is the one to be vectorised.
        row_bytes: rows at least this far apart are worth packing.
        least_reuse: how often an element must be read again for a copy to pay.
    """
    spatial = iters_of(block, "spatial")
    if not spatial:
        return ()
    return tuple(
        found
        for number in range(len(block.reads))
        if (found := _packing(block, number, spatial[-1].var, row_bytes, least_reuse)) is not None
    )


def _packing(
    block: Block, number: int, vector: Var, row_bytes: int, least_reuse: int
) -> Packing | None:
    buffer = block.reads[number].buffer
    found = set(body_loads(block, buffer))
    used = index_iters(block, buffer)
    if len(found) != 1 or vector not in used:
        return None
    load = found.pop()
    missing = [it.extent for it in iters_of(block, "spatial") if it.var not in used]
    reuse = int_value(product(missing))
    if not missing or (reuse is not None and reuse < least_reuse):
        return None
    step = stride(load, vector)
    if step is None:
        return None
    strided = int_value(step) not in (0, 1)
    if not strided and not (int_value(step) == 1 and _far_rows(block, load, used, row_bytes)):
        return None
    return Packing(number, _order(block, used, vector), strided)


def _far_rows(block: Block, load: Load, used: set[Var], row_bytes: int) -> bool:
    """Whether even the nearest neighbours along a reduce variable are far apart."""
    steps = [stride(load, it.var) for it in iters_of(block, "reduce") if it.var in used]
    known = [int_value(s) for s in steps if s is not None]
    near = min((s for s in known if s is not None), default=0)
    return near * load.buffer.dtype.bytes >= row_bytes


def _order(block: Block, used: set[Var], vector: Var) -> tuple[int, ...]:
    """Spatial variables first, the reduce ones as the block lists them, the vectorised one last."""
    rank = {"spatial": 0, "reduce": 1}
    positions = [k for k, it in enumerate(block.iters) if it.var in used]
    return tuple(
        sorted(
            positions,
            key=lambda k: (block.iters[k].var == vector, rank.get(block.iters[k].kind, 2), k),
        )
    )
