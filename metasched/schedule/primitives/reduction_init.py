"""The init of a reduction as a nest of its own: what blockize and decompose_reduction share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from metasched.ir.expr import Expr, Var
from metasched.ir.regions import element_regions, full, read_accesses
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, For, IterVar, Region, Stmt, Store
from metasched.ir.walk import loads, map_region, substitute, substitute_stmt
from metasched.schedule.state import State


@dataclass(frozen=True, slots=True)
class InitNest:
    """A reduction, its init, and the loops that the init runs over.

    Args:
        block: the reduction.
        init: its init.
        loops: the loops around the init, outermost first.
        start: what replaces loop variables in the bindings and the predicate of the init.
    """

    block: Block
    init: Stmt
    loops: tuple[For, ...]
    start: Mapping[Var, Expr]

    def build(self, state: State, known: Simplifier) -> tuple[Stmt, str]:
        """The nest around the init block, with fresh names, and the name of that block.

        Args:
            state: where names must be fresh.
            known: what is known about the variables around the nest.
        """
        spatial = [it for it in self.block.iters if it.kind == "spatial"]
        variables = [loop.var for loop in self.loops] + [it.var for it in spatial]
        bases = (self.block.name, *(v.name for v in variables))
        name, *names = state.fresh(*(f"{base}_init" for base in bases))
        loops = {
            loop.var: Var(n, loop.var.dtype) for loop, n in zip(self.loops, names, strict=False)
        }
        own = {
            it.var: Var(n, it.var.dtype)
            for it, n in zip(spatial, names[len(self.loops) :], strict=True)
        }
        at = {**self.start, **loops}
        iters = tuple(
            IterVar(own[it.var], it.extent, it.kind, substitute(it.binding, at)) for it in spatial
        )
        body = substitute_stmt(self.init, own)
        for loop in self.loops:
            known.bind(loops[loop.var], loop.extent)
        nest: Stmt = Block(
            name,
            iters,
            _reads(body, iters),
            tuple(map_region(r, lambda e: substitute(e, own)) for r in self.block.writes),
            body,
            predicate=_predicate(self.block.predicate, at, known),
        )
        for loop in reversed(self.loops):
            nest = replace(loop, var=loops[loop.var], body=nest)
        return nest, name


def update_of(block: Block) -> Block:
    """A reduction without its init; it reads what it accumulates into."""
    own = tuple(w for w in block.writes if all(r.buffer != w.buffer for r in block.reads))
    return replace(block, init=None, reads=(*block.reads, *own))


def _reads(body: Stmt, iters: tuple[IterVar, ...]) -> tuple[Region, ...]:
    if isinstance(body, Store):
        return element_regions(read_accesses(body), iters)
    # Loops and blocks inside index the loads; inits hardly ever load, so a wide box will do.
    return tuple(full(buffer) for buffer in dict.fromkeys(load.buffer for load in loads(body)))


def _predicate(predicate: Expr, at: Mapping[Var, Expr], known: Simplifier) -> Expr:
    changed = substitute(predicate, at)
    return known(changed) if known.can_prove(changed) else changed
