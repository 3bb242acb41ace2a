"""Blocks alone in a nest of plain loops, which a change of layout or domain may rebuild as a whole.

Here a loop runs through all values of one iteration and nothing else, so a nest is no more than
the domain of its block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metasched.analysis.access import simplify_indices
from metasched.errors import UsageError
from metasched.ir.expr import Expr, Var
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, For, IterKind, IterVar, Stmt
from metasched.ir.walk import expr_loads, free_vars, walk
from metasched.schedule.index_map import IndexMap
from metasched.schedule.primitives.loop_nest import why_not_plain
from metasched.schedule.primitives.placement import Refusal, facts
from metasched.schedule.primitives.staging import top_statements
from metasched.schedule.state import State


@dataclass(frozen=True, slots=True)
class PlainNest:
    """The loops around a block, outermost first; none of them holds anything else."""

    block: Block
    loops: tuple[For, ...]

    @property
    def top(self) -> For | Block:
        """The outermost statement."""
        return self.loops[0] if self.loops else self.block


def plain_nest(state: State, block: Block) -> PlainNest | Refusal:
    """The nest of a block whose loops run through one iteration each."""
    if block is state.program.root:
        return Refusal("loops around the block alone", "the root block", block.name)
    loops = state.loops_above(block)
    nest: Sequence[For | Block] = (*loops, block)
    for loop, body in zip(loops, nest[1:], strict=True):
        if loop.body is not body:
            given = f"'{loop.var.name}', which holds more"
            return Refusal("loops around the block alone", given, loop.var.name)
    if not any(s is nest[0] for s in top_statements(state.scope(block))):
        return Refusal("loops around the block alone", f"'{block.name}' in a branch", block.name)
    extents = {loop.var: loop.extent for loop in loops}
    moving = facts(state).ranges.keys()
    for loop in loops:
        if varying := free_vars(loop.extent) & moving:
            given = f"{loop.extent}, which varies with '{min(v.name for v in varying)}'"
            return Refusal("loops of fixed extents", given, loop.var.name)
    for it in block.iters:
        extent = extents.pop(it.binding, None) if isinstance(it.binding, Var) else None
        if extent != it.extent:
            given = f"'{it.var.name}' bound to {it.binding}"
            hint = "change layouts and domains before split, fuse and compute_at"
            return Refusal("a loop of its own for each iteration", given, block.name, hint)
    if extents:
        (name, *_) = (v.name for v in extents)
        given = f"'{name}', to which no iteration is bound"
        return Refusal("a loop of its own for each iteration", given, name)
    return PlainNest(block, loops)


def serial_nest(state: State, block: Block) -> PlainNest | Refusal:
    """A nest whose loops are serial and carry no annotation, so that others may replace them."""
    nest = plain_nest(state, block)
    if isinstance(nest, Refusal):
        return nest
    for loop in nest.loops:
        if given := why_not_plain(loop):
            rule = "serial loops without annotations"
            return Refusal(rule, given, loop.var.name, "schedule the new loops afterwards")
    return nest


def within(state: State, block: Block) -> Simplifier:
    """A simplifier that knows all variables around a block and in its body."""
    known = state.simplifier(block)
    for node in walk(block.body):
        match node:
            case For():
                known.bind(node.var, node.extent)
            case Block():
                for it in node.iters:
                    known.bind(it.var, it.extent)
            case _:
                pass
    return known


def simplified(expr: Expr, known: Simplifier) -> Expr:
    """An expression with its indices simplified; arithmetic on data stays as it is."""
    if expr.dtype.is_int and not expr_loads(expr):
        return known(expr)
    return simplify_indices(expr, known)


@dataclass(frozen=True, slots=True)
class NewAxes:
    """Fresh loops and iterations of a nest that takes the place of another."""

    loops: tuple[Var, ...]
    iters: tuple[Var, ...]

    @staticmethod
    def of(state: State, count: int) -> NewAxes:
        """So many loops, with an iteration each."""
        names = state.fresh(*(f"{kind}{k}" for kind in ("ax", "v_ax") for k in range(count)))
        fresh = tuple(Var(name) for name in names)
        return NewAxes(fresh[:count], fresh[count:])

    def bound(
        self, extents: Sequence[Expr], kinds: Sequence[IterKind] | None = None
    ) -> tuple[IterVar, ...]:
        """The iterations, each bound to its loop; spatial ones by default."""
        spatial: list[IterKind] = ["spatial"] * len(extents)
        axes = zip(self.iters, extents, kinds or spatial, self.loops, strict=True)
        return tuple(IterVar(var, extent, kind, loop) for var, extent, kind, loop in axes)

    def around(self, body: Stmt, extents: Sequence[Expr]) -> Stmt:
        """The loops around a statement."""
        for loop, extent in zip(reversed(self.loops), reversed(extents), strict=True):
            body = For(loop, extent, body)
        return body


def read_map(text: str, rank: int, of: str, at: str) -> IndexMap | Refusal:
    """The index map of a text, which takes one index per dimension or iteration."""
    try:
        found = IndexMap.parse(text)
    except UsageError as error:
        return Refusal("an index map", f"{error}", at)
    if len(found.inputs) != rank:
        given = f"{len(found.inputs)} for {rank}"
        return Refusal(f"an index map with one index for each {of}", given, at)
    return found
