"""Whether two nests that run one after the other may run iteration by iteration instead.

They may where no iteration of the first touches what an earlier iteration of the second touches,
unless both only read it. Proofs go by boxes, level by level: at each loop the first nest is ahead,
outer loops are equal, and inner ones do not matter. Where boxes do not tell iterations apart,
because loops were fused, equal indices that name each iteration do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from metasched.analysis.facts import Facts
from metasched.ir.expr import Buffer, Expr, Var, add, const, int_value
from metasched.ir.stmt import Block, Region
from metasched.ir.walk import free_vars, substitute


@dataclass(frozen=True, slots=True)
class Stage:
    """A block under loops that are to be shared with another block.

    Args:
        block: the block.
        shared: the loops to be shared, outermost first; those of two stages correspond.
        inner: the other loops around the block, outermost first.
    """

    block: Block
    shared: tuple[Var, ...]
    inner: tuple[Var, ...]

    def indices(self, region: Region, values: Mapping[Var, Expr]) -> tuple[Expr, ...]:
        """The first indices of a region over loops, with some loops replaced."""
        bindings = {it.var: substitute(it.binding, values) for it in self.block.iters}
        return tuple(substitute(low, bindings) for low, _ in region.ranges)


def entangled(known: Facts, first: Stage, second: Stage) -> Buffer | None:
    """A buffer because of which ``second`` must wait for all of ``first``, or None."""
    for a, b in _conflicts(first.block, second.block):
        if not (_ordered(known, (first, a), (second, b)) or _same(known, (first, a), (second, b))):
            return a.buffer
    return None


def _conflicts(first: Block, second: Block) -> Iterator[tuple[Region, Region]]:
    """The pairs of regions in one buffer of which at least one is written."""
    for a in (*first.writes, *first.reads):
        for b in (*second.writes, *second.reads):
            if a.buffer == b.buffer and (a in first.writes or b in second.writes):
                yield a, b


def _ordered(known: Facts, first: tuple[Stage, Region], second: tuple[Stage, Region]) -> bool:
    """Whether boxes are apart wherever the first nest is ahead of the second."""
    (a, made), (b, used) = first, second
    return all(
        _apart_at(known, level, (a, made), (b, used))
        for level in range(len(a.shared))
        if int_value(known.ranges[a.shared[level]]) != 1
    )


def _apart_at(
    known: Facts, level: int, first: tuple[Stage, Region], second: tuple[Stage, Region]
) -> bool:
    (a, made), (b, used) = first, second
    ahead, behind = a.shared[level], b.shared[level]
    # The first nest is at ``behind + 1 + more``; ``ahead`` itself serves as ``more``.
    outer: dict[Var, Expr] = dict(zip(b.shared[:level], a.shared[:level], strict=True))
    here: dict[Var, Expr] = {ahead: add(add(behind, const(1, ahead.dtype)), ahead)}
    inner = (*a.shared[level + 1 :], *a.inner, *b.shared[level + 1 :], *b.inner)
    for one, other in zip(
        zip(a.indices(made, here), made.ranges, strict=True),
        zip(b.indices(used, outer), used.ranges, strict=True),
        strict=True,
    ):
        (low, extent), (start, size) = (
            _reach(known, index, pair[1], inner) for index, pair in (one, other)
        )
        if low is None or start is None or extent is None or size is None:
            continue
        if known.nonneg(low - start - size) or known.nonneg(start - low - extent):
            return True
    return False


def _reach(
    known: Facts, index: Expr, extent: Expr, inner: tuple[Var, ...]
) -> tuple[Expr | None, Expr | None]:
    """First value and extent of a range of indices while the inner loops run."""
    found = known.relax(index, inner)
    if found is None or free_vars(extent) & known.ranges.keys():
        return None, None
    return found[0], known.simplify(found[1] + extent - 1)


def _same(known: Facts, first: tuple[Stage, Region], second: tuple[Stage, Region]) -> bool:
    """Whether both touch single elements, by equal indices that tell iterations apart."""
    (a, made), (b, used) = first, second
    if any(int_value(extent) != 1 for r in (made, used) for _, extent in r.ranges):
        return False
    mine = a.indices(made, {})
    theirs = b.indices(used, dict(zip(b.shared, a.shared, strict=True)))
    loops, others = _used(mine, a.inner), _used(theirs, b.inner)
    if [known.ranges[v] for v in loops] != [known.ranges[v] for v in others]:
        return False
    renamed = dict(zip(others, loops, strict=True))
    if any(
        known.simplify(x - substitute(y, renamed)) != const(0, x.dtype)
        for x, y in zip(mine, theirs, strict=True)
    ):
        return False
    return known.is_one_to_one(mine, [*a.shared, *loops])


def _used(indices: tuple[Expr, ...], loops: tuple[Var, ...]) -> list[Var]:
    used = {v for index in indices for v in free_vars(index)}
    return [v for v in loops if v in used]
