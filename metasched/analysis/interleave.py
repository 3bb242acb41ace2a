"""Whether two nests that run one after the other may run iteration by iteration instead.

They may where no iteration of the first touches what an earlier iteration of the second touches,
unless both only read it. Proofs go by boxes, level by level: at each loop the first nest is ahead,
outer loops are equal, and inner ones do not matter. Where boxes do not tell iterations apart,
because loops were fused, equal indices that name each iteration do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from metasched.analysis.facts import Facts, Range
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

    def ranges(self, region: Region) -> tuple[Range, ...]:
        """A region of the block over the loops around it."""
        bindings = {it.var: it.binding for it in self.block.iters}
        return tuple((substitute(low, bindings), extent) for low, extent in region.ranges)


def entangled(known: Facts, first: Stage, second: Stage) -> Buffer | None:
    """A buffer because of which ``second`` must wait for all of ``first``, or None."""
    for a, b in dict.fromkeys(_conflicts(first.block, second.block)):
        pair = _Pair.of(known, (first, a), (second, b))
        if not pair.ordered() and not pair.same():
            return a.buffer
    return None


def _conflicts(first: Block, second: Block) -> Iterator[tuple[Region, Region]]:
    """The pairs of regions in one buffer of which at least one is written."""
    for a in (*first.writes, *first.reads):
        for b in (*second.writes, *second.reads):
            if a.buffer == b.buffer and (a in first.writes or b in second.writes):
                yield a, b


@dataclass(frozen=True, slots=True)
class _Pair:
    """What two stages touch of one buffer.

    Args:
        known: the facts about their loops.
        first: the stage that comes first.
        second: the other one.
        made: what the first touches in each dimension.
        used: what the other one touches.
    """

    known: Facts
    first: Stage
    second: Stage
    made: tuple[Range, ...]
    used: tuple[Range, ...]

    @staticmethod
    def of(known: Facts, first: tuple[Stage, Region], second: tuple[Stage, Region]) -> _Pair:
        (a, made), (b, used) = first, second
        return _Pair(known, a, b, a.ranges(made), b.ranges(used))

    def ordered(self) -> bool:
        """Whether boxes are apart wherever the first nest is ahead of the second."""
        sizes = (self.known.ranges[var] for var in self.first.shared)
        return all(
            self._apart_at(level) for level, size in enumerate(sizes) if int_value(size) != 1
        )

    def _apart_at(self, level: int) -> bool:
        ahead, behind = self.first.shared[level], self.second.shared[level]
        dims = zip(self.made, self.used, strict=True)
        # A dimension that the loop runs through is the likely one, and proofs take time.
        likely = sorted(dims, key=lambda d: not {ahead, behind} & free_vars(d[0][0] + d[1][0]))
        return any(self._apart_in(level, made, used) for made, used in likely)

    def _apart_in(self, level: int, made: Range, used: Range) -> bool:
        known, a, b = self.known, self.first, self.second
        ahead, behind = a.shared[level], b.shared[level]
        # The first nest is at ``behind + 1 + more``; ``ahead`` itself serves as ``more``.
        here: dict[Var, Expr] = {ahead: add(add(behind, const(1, ahead.dtype)), ahead)}
        outer: dict[Var, Expr] = dict(zip(b.shared[:level], a.shared[:level], strict=True))
        inner = (*a.shared[level + 1 :], *a.inner, *b.shared[level + 1 :], *b.inner)
        mine = _reach(known, substitute(made[0], here), made[1], inner)
        theirs = _reach(known, substitute(used[0], outer), used[1], inner)
        if mine is None or theirs is None:
            return False
        above = known.nonneg(mine[0] - theirs[0] - theirs[1])
        return above or known.nonneg(theirs[0] - mine[0] - mine[1])

    def same(self) -> bool:
        """Whether both touch single elements, by equal indices that tell iterations apart."""
        known, a, b = self.known, self.first, self.second
        if any(int_value(extent) != 1 for _, extent in (*self.made, *self.used)):
            return False
        mine = [index for index, _ in self.made]
        theirs = [index for index, _ in self.used]
        loops, others = _used(mine, a.inner), _used(theirs, b.inner)
        if [known.ranges[v] for v in loops] != [known.ranges[v] for v in others]:
            return False
        names = dict(zip((*b.shared, *others), (*a.shared, *loops), strict=True))
        if any(
            known.simplify(x - substitute(y, names)) != const(0, x.dtype)
            for x, y in zip(mine, theirs, strict=True)
        ):
            return False
        return known.is_one_to_one(mine, [*a.shared, *loops])


def _reach(known: Facts, index: Expr, extent: Expr, inner: tuple[Var, ...]) -> Range | None:
    """The range of indices while the inner loops run."""
    found = known.relax(index, inner)
    if found is None or free_vars(extent) & known.ranges.keys():
        return None
    return found[0], known.simplify(found[1] + extent - 1)


def _used(indices: list[Expr], loops: tuple[Var, ...]) -> list[Var]:
    used = {v for index in indices for v in free_vars(index)}
    return [v for v in loops if v in used]
