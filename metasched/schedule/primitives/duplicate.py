"""Copies of a loop with all in it, under names of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

from metasched.ir.expr import Buffer, Expr, Var
from metasched.ir.stmt import Block, For, Stmt
from metasched.ir.walk import map_stmts, replace_buffers, substitute, substitute_stmt, walk
from metasched.schedule.state import State


@dataclass(frozen=True, slots=True)
class Renaming:
    """New names for everything that a loop declares."""

    vars: dict[Var, Var]
    blocks: dict[str, str]
    buffers: dict[Buffer, Buffer]

    def loop(self, loop: For) -> For:
        """A loop, with all in it, under the new names."""
        named = substitute_stmt(loop, cast(dict[Var, Expr], self.vars))
        declared = self._declare(replace_buffers(named, self.buffers) if self.buffers else named)
        return cast(For, declared)

    def _declare(self, stmt: Stmt) -> Stmt:
        stmt = map_stmts(stmt, self._declare)
        match stmt:
            case For():
                return replace(stmt, var=self.vars[stmt.var])
            case Block():
                iters = tuple(replace(it, var=self.vars[it.var]) for it in stmt.iters)
                return replace(stmt, name=self.blocks[stmt.name], iters=iters)
            case _:
                return stmt


def renamings(state: State, loop: For, count: int) -> list[Renaming]:
    """Names for several copies of a loop: those of the first end in 0, and so on."""
    declared = [*_vars(loop)]
    inside = [node for node in walk(loop) if isinstance(node, Block)]
    buffers = [buffer for block in inside for buffer in block.allocs]
    bases = [x.name for x in (*declared, *inside, *buffers)]
    names = iter(state.fresh(*(f"{base}_{k}" for k in range(count) for base in bases)))
    made: list[Renaming] = []
    for _ in range(count):
        variables = {v: Var(next(names), v.dtype) for v in declared}
        called = {block.name: next(names) for block in inside}
        values = cast(dict[Var, Expr], variables)
        arrays: dict[Buffer, Buffer] = {}
        for old in buffers:
            shape = tuple(substitute(size, values) for size in old.shape)
            arrays[replace(old, shape=shape)] = replace(old, name=next(names), shape=shape)
        made.append(Renaming(variables, called, arrays))
    return made


def _vars(stmt: Stmt) -> Iterator[Var]:
    for node in walk(stmt):
        match node:
            case For():
                yield node.var
            case Block():
                yield from (it.var for it in node.iters)
            case _:
                pass
