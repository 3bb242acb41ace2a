"""Boxes of buffers that statements touch: read off accesses, joined, and compared.

`metasched.te` states the regions of new blocks with it and `metasched.ir.verify` checks those of
scheduled ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from metasched.ir.expr import Binary, Buffer, Const, Expr, Var, const, maximum, minimum
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import IterVar, Region, Stmt
from metasched.ir.walk import loads, stores

Access = tuple[Buffer, tuple[Expr, ...]]
"""A buffer and the indices of one element."""


def element(access: Access) -> Region:
    """The region of one element."""
    buffer, indices = access
    return Region(buffer, tuple((i, const(1, i.dtype)) for i in indices))


def full(buffer: Buffer) -> Region:
    """The region of a whole buffer."""
    return Region(buffer, tuple((const(0, size.dtype), size) for size in buffer.shape))


def read_accesses(stmt: Stmt) -> list[Access]:
    """The elements that a statement loads, in program order."""
    return [(load.buffer, load.indices) for load in loads(stmt)]


def write_accesses(stmt: Stmt) -> list[Access]:
    """The elements that a statement stores, in program order."""
    return [(store.buffer, store.indices) for store in stores(stmt)]


def element_regions(
    accesses: Iterable[Access], iters: Iterable[IterVar] = ()
) -> tuple[Region, ...]:
    """One box per buffer, in order of first access, just large enough for all its accesses.

    Args:
        accesses: the elements.
        iters: the iteration variables in their indices; others are taken for sizes.
    """
    known = Simplifier({it.var: it.extent for it in iters})
    boxes: dict[Buffer, Region] = {}
    for access in accesses:
        region = element(access)
        seen = boxes.get(region.buffer)
        boxes[region.buffer] = region if seen is None else hull(seen, region, known)
    return tuple(boxes.values())


def hull(a: Region, b: Region, simplify: Simplifier | None = None) -> Region:
    """The smallest box around two regions of one buffer."""
    if a == b:
        return a
    run = simplify or Simplifier()
    pairs = zip(a.ranges, b.ranges, strict=True)
    return Region(a.buffer, tuple(_join(x, y, run) for x, y in pairs))


def _join(a: tuple[Expr, Expr], b: tuple[Expr, Expr], simplify: Simplifier) -> tuple[Expr, Expr]:
    if a == b:
        return a
    low = simplify(minimum(a[0], b[0]))
    high = simplify(maximum(a[0] + a[1], b[0] + b[1]))
    return low, simplify(high - low)


def covers(outer: Region, inner: Region, simplify: Simplifier) -> bool:
    """Whether ``inner`` provably lies in ``outer``."""
    return all(
        a == b or (simplify.can_prove(a[0] <= b[0]) and simplify.can_prove(_ends_in(a, b)))
        for a, b in zip(outer.ranges, inner.ranges, strict=True)
    )


def _ends_in(outer: tuple[Expr, Expr], inner: tuple[Expr, Expr]) -> Expr:
    return inner[0] + inner[1] <= outer[0] + outer[1]


def leaves(index: Expr, extent: Expr, simplify: Simplifier) -> bool:
    """Whether some value of the variables certainly takes an index out of ``[0, extent)``.

    Certain are sums of multiples of distinct variables with numeric ranges, whose bounds are
    attained; anything else is given the benefit of the doubt.
    """
    return _negative(index, simplify) or _negative(extent - 1 - index, simplify)


def misses(region: Region, at: Sequence[Expr], simplify: Simplifier) -> bool:
    """Whether some value of the variables certainly takes an element out of a region."""
    return any(
        index != low and leaves(index - low, extent, simplify)
        for (low, extent), index in zip(region.ranges, at, strict=True)
    )


def _negative(expr: Expr, simplify: Simplifier) -> bool:
    value = simplify(expr)
    if not _attains_bounds(value, simplify):
        return False
    low, _ = simplify.bounds(value)
    return low is not None and low < 0


def _attains_bounds(expr: Expr, simplify: Simplifier) -> bool:
    match expr:
        case Const():
            return True
        case Var():
            return simplify.bounds(expr)[1] is not None
        case Binary(op="add" | "sub", a=a, b=b):
            return _attains_bounds(a, simplify) and _attains_bounds(b, simplify)
        case Binary(op="mul", a=Var() as var, b=Const()):
            return _attains_bounds(var, simplify)
        case _:
            return False
