"""What is inside a block: its loops and blocks, through which accesses are seen from outside."""

from __future__ import annotations

from collections.abc import Iterable

from metasched.analysis.facts import Facts
from metasched.ir.expr import Buffer, Expr, Var
from metasched.ir.regions import Access, element, element_regions, full, hull
from metasched.ir.stmt import Block, For, Region
from metasched.ir.walk import substitute, walk


class Inside:
    """The loops and blocks inside a block.

    Attributes:
        loops: the extents of the loops.
        bindings: the iterations of the blocks, over the loops and the iterations of the outer one.
        local: the buffers that live inside.
    """

    def __init__(self, block: Block) -> None:
        self.iters = block.iters
        self.loops: dict[Var, Expr] = {}
        self.bindings: dict[Var, Expr] = {}
        self.local = set(block.allocs)

    @staticmethod
    def of(block: Block) -> Inside:
        """What is inside a block."""
        found = Inside(block)
        for node in walk(block.body):
            match node:
                case For():
                    found.loops[node.var] = node.extent
                case Block():
                    found.local.update(node.allocs)
                    for it in node.iters:
                        found.bindings[it.var] = substitute(it.binding, found.bindings)
                case _:
                    pass
        return found

    def accesses(self, given: Iterable[Access]) -> list[Access]:
        """The accesses that are seen outside, without the iterations of blocks inside."""
        return [
            (buffer, tuple(substitute(i, self.bindings) for i in indices))
            for buffer, indices in given
            if buffer not in self.local
        ]

    def boxes(self, accesses: list[Access]) -> tuple[Region, ...]:
        """One box per buffer that holds the accesses while the loops inside run."""
        if not self.loops:
            return element_regions(accesses, self.iters)
        own = {it.var: it.extent for it in self.iters}
        known = Facts(own | self.loops)
        found: dict[Buffer, Region] = {}
        for access in accesses:
            box = known.box(element(access), {}, self.loops)
            whole = full(access[0]).ranges
            pairs = (pair or rest for pair, rest in zip(box, whole, strict=True))
            region = Region(access[0], tuple(pairs))
            before = found.get(access[0])
            found[access[0]] = region if before is None else hull(before, region, known.simplify)
        return tuple(found.values())
