"""merge: nests that follow each other as one nest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product

from metasched.analysis.dependence import direct_blocks
from metasched.analysis.interleave import Stage, entangled
from metasched.ir.expr import Expr, Var, const
from metasched.ir.simplify import simplify
from metasched.ir.stmt import Block, For, Seq, Stmt, seq
from metasched.ir.walk import substitute
from metasched.schedule.primitives.loop_nest import why_not_plain
from metasched.schedule.primitives.placement import Refusal, facts
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive, refused
from metasched.schedule.state import State, rebind


def merge(state: State, *loops: str) -> tuple[State, tuple[str, ...]]:
    """Merge loops of nests that follow each other, so that their iterations alternate.

    The loops around the given ones, up to where the nests part, are merged with them. The merged
    nest stands where the last of them stood.

    Args:
        state: where to apply.
        loops: a loop of each nest, at the same depth.

    Returns:
        The innermost merged loop.

    Requires:
        - at least two loops
        - loops in nests of one sequence
        - each loop to be the only statement in the one before it
        - loops at the same depth of their nests
        - serial loops without annotations
        - loops of the same extent
        - nothing between the nests that shares a result with those before it
        - no iteration that needs what nests before do in later iterations

    ::

        for i in serial(8):          ->  for i_m in serial(8):
            b[i] = a[i]                      b[i_m] = a[i_m]
        for j in serial(8):                  c[i_m] = b[i_m]
            c[j] = b[j]
    """
    if len(loops) < 2:
        hint = "give a loop of each nest"
        raise refused(state, "merge", "at least two loops", str(list(loops)), at=None, hint=hint)
    place = _find(state, [state.loop(name, "merge") for name in loops])
    if isinstance(place, Refusal):
        raise place.error(state, "merge")
    if (refusal := _why_not(state, place)) is not None:
        raise refusal.error(state, "merge")
    names = state.fresh(*(f"{loop.var.name}_m" for loop in place.nests[0]))
    gone = [loop.var.name for nest in place.nests for loop in nest]
    return state.replace(place.around, place.merged(names)).without("merge", *gone), (names[-1],)


@dataclass(frozen=True, slots=True)
class _Place:
    """A sequence and nests in it, in order, each as its loops to be merged."""

    around: Seq
    nests: tuple[tuple[For, ...], ...]

    def merged(self, names: tuple[str, ...]) -> Stmt:
        """The sequence with the nests as one, of loops with the given names."""
        first = self.nests[0]
        new = [Var(name, loop.var.dtype) for name, loop in zip(names, first, strict=True)]
        bodies: list[Stmt] = []
        for nest in self.nests:
            values = _values(nest, new)
            bodies.append(rebind(nest[-1].body, values))
        body = seq(*bodies)
        values = _values(first, new)
        for var, loop in zip(reversed(new), reversed(first), strict=True):
            body = For(var, substitute(loop.extent, values), body)
        gone = {id(nest[0]) for nest in self.nests[:-1]}
        last = self.nests[-1][0]
        kept = [stmt for stmt in self.around.stmts if id(stmt) not in gone]
        return seq(*(body if stmt is last else stmt for stmt in kept))

    def between(self) -> Iterator[tuple[Stmt, list[tuple[For, ...]]]]:
        """Each other statement before the last nest, with the nests that stand before it."""
        before: list[tuple[For, ...]] = []
        for stmt in self.around.stmts:
            nest = next((n for n in self.nests if n[0] is stmt), None)
            if nest is self.nests[-1]:
                return
            if nest is not None:
                before.append(nest)
            elif before:
                yield stmt, list(before)


def _values(nest: tuple[For, ...], new: list[Var]) -> dict[Var, Expr]:
    return {loop.var: var for loop, var in zip(nest, new, strict=True)}


def _find(state: State, loops: list[For]) -> _Place | Refusal:
    """Where the nests of the loops part."""
    paths = [(*state.ancestors(loop), loop) for loop in loops]
    depth = 0
    while all(len(p) > depth and p[depth] is paths[0][depth] for p in paths):
        depth += 1
    parting, name = paths[0][depth - 1], loops[0].var.name
    rule = "loops in nests of one sequence"
    if not isinstance(parting, Seq) or any(len(p) <= depth for p in paths):
        return Refusal(rule, f"'{name}' and '{loops[1].var.name}'", name)
    heads = [p[depth] for p in paths]
    for (k, one), (j, other) in combinations(enumerate(heads), 2):
        if one is other:
            given = f"'{loops[k].var.name}' and '{loops[j].var.name}' of the same nest"
            return Refusal(rule, given, loops[j].var.name)
    nests: dict[int, tuple[For, ...]] = {}
    for loop, path in zip(loops, paths, strict=True):
        nest = tuple(s for s in path[depth:] if isinstance(s, For))
        if len(nest) < len(path) - depth:
            rule = "each loop to be the only statement in the one before it"
            given = f"'{loop.var.name}', which is not"
            return Refusal(rule, given, loop.var.name, "merge loops further outside")
        nests[next(k for k, s in enumerate(parting.stmts) if s is path[depth])] = nest
    return _Place(parting, tuple(nests[k] for k in sorted(nests)))


def _why_not(state: State, place: _Place) -> Refusal | None:
    first = place.nests[0]
    for nest in place.nests:
        name = nest[-1].var.name
        if len(nest) != len(first):
            given = f"'{name}' at depth {len(nest)} and '{first[-1].var.name}' at {len(first)}"
            return Refusal("loops at the same depth of their nests", given, name)
        for loop in nest:
            if given := why_not_plain(loop):
                hint = "merge before parallel, vectorize, unroll and annotate"
                return Refusal("serial loops without annotations", given, loop.var.name, hint)
        for mine, loop in zip(first, nest, strict=True):
            if not _equal(substitute(loop.extent, _values(nest, [x.var for x in first])), mine):
                given = f"{loop.extent} of '{loop.var.name}' and {mine.extent} of '{mine.var.name}'"
                return Refusal("loops of the same extent", given, loop.var.name)
    return _why_not_moved(place) or _why_not_together(state, place)


def _equal(extent: Expr, loop: For) -> bool:
    same = extent.dtype == loop.extent.dtype
    return same and simplify(extent - loop.extent) == const(0, extent.dtype)


def _why_not_moved(place: _Place) -> Refusal | None:
    """The nests but the last move behind what stands between them."""
    for stmt, before in place.between():
        for passed in direct_blocks(stmt):
            for block in (b for nest in before for b in direct_blocks(nest[0])):
                if shared := _shared_result(block, passed):
                    rule = "nothing between the nests that shares a result with those before it"
                    given = f"block '{passed.name}', which shares '{shared}' with '{block.name}'"
                    return Refusal(rule, given, passed.name, "merge its nest too")
    return None


def _shared_result(a: Block, b: Block) -> str | None:
    for mine in (*a.writes, *a.reads):
        for theirs in (*b.writes, *b.reads):
            if mine.buffer == theirs.buffer and (mine in a.writes or theirs in b.writes):
                return mine.buffer.name
    return None


def _why_not_together(state: State, place: _Place) -> Refusal | None:
    known = facts(state)
    for one, other in combinations(place.nests, 2):
        for a, b in product(_stages(state, one), _stages(state, other)):
            if (buffer := entangled(known, a, b)) is not None:
                rule = "no iteration that needs what nests before do in later iterations"
                name = b.block.name
                given = f"block '{name}', which shares '{buffer.name}' with '{a.block.name}'"
                return Refusal(rule, given, name, "merge loops further outside")
    return None


def _stages(state: State, nest: tuple[For, ...]) -> Iterator[Stage]:
    shared = tuple(loop.var for loop in nest)
    for block in direct_blocks(nest[-1].body):
        around = [loop.var for loop in state.loops_above(block)]
        inner = tuple(around[around.index(shared[-1]) + 1 :])
        yield Stage(block, shared, inner)


PRIMITIVES.register("merge", Primitive("merge", merge, output="loop"))
