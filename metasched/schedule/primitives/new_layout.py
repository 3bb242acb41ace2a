"""A buffer in another layout: every access and region of it, over a whole program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from metasched.analysis.facts import Facts, Range
from metasched.ir.expr import Buffer, Expr, Load, Var, const, int_value
from metasched.ir.stmt import Block, Program, Region, Stmt, Store
from metasched.ir.walk import as_block, map_expr, map_exprs, map_stmts
from metasched.schedule.index_map import IndexMap
from metasched.schedule.primitives.placement import facts
from metasched.schedule.state import State


@dataclass(frozen=True, slots=True)
class NewLayout:
    """What takes the place of a buffer.

    Args:
        old: the buffer.
        new: the buffer that takes its place.
        index_map: from the indices of the old one to those of the new one.
    """

    old: Buffer
    new: Buffer
    index_map: IndexMap

    def applied(self, state: State) -> State:
        """The state with the new buffer everywhere, parameters included."""
        rewrite = _Rewrite(self, facts(state))
        program = state.program
        return replace(
            state,
            program=Program(
                program.name,
                tuple(self.new if p == self.old else p for p in program.params),
                as_block(rewrite.stmt(program.root)),
            ),
        )


class _Rewrite:
    def __init__(self, layout: NewLayout, known: Facts) -> None:
        self._layout = layout
        self._known = known
        self._done: dict[tuple[Expr, ...], tuple[Expr, ...]] = {}

    def stmt(self, root: Stmt) -> Stmt:
        return self._places(map_exprs(root, self._expr))

    def _at(self, indices: tuple[Expr, ...]) -> tuple[Expr, ...]:
        found = self._done.get(indices)
        if found is None:
            found = self._layout.index_map.map_indices(indices, self._known.simplify)
            self._done[indices] = found
        return found

    def _expr(self, expr: Expr) -> Expr:
        mapped = map_expr(expr, self._expr)
        if isinstance(mapped, Load) and mapped.buffer == self._layout.old:
            return Load(self._layout.new, self._at(mapped.indices))
        return mapped

    def _places(self, stmt: Stmt) -> Stmt:
        """Stores, regions and allocations; expressions are done before."""
        node = map_stmts(stmt, self._places)
        layout = self._layout
        match node:
            case Store() if node.buffer == layout.old:
                return Store(layout.new, self._at(node.indices), node.value)
            case Block():
                return replace(
                    node,
                    reads=self._regions(node.reads),
                    writes=self._regions(node.writes),
                    allocs=tuple(layout.new if b == layout.old else b for b in node.allocs),
                )
            case _:
                return node

    def _regions(self, regions: tuple[Region, ...]) -> tuple[Region, ...]:
        return tuple(self._region(r) if r.buffer == self._layout.old else r for r in regions)

    def _region(self, region: Region) -> Region:
        if all(int_value(extent) == 1 for _, extent in region.ranges):
            at = self._at(tuple(low for low, _ in region.ranges))
            return Region(self._layout.new, tuple((i, const(1, i.dtype)) for i in at))
        return Region(self._layout.new, self._box(region.ranges))

    def _box(self, ranges: Sequence[Range]) -> tuple[Range, ...]:
        """A box around the images of all elements of a box."""
        inner = {Var(f"within {k}", low.dtype): n for k, (low, n) in enumerate(ranges)}
        known = Facts({**self._known.ranges, **inner})
        at = [low + v for v, (low, _) in zip(inner, ranges, strict=True)]
        images = self._layout.index_map.map_indices(at, known.simplify)
        return tuple(
            known.relax(image, inner) or (const(0, size.dtype), size)
            for image, size in zip(images, self._layout.new.shape, strict=True)
        )
