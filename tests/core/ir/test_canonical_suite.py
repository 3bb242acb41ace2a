"""Every operator of the suite in random spellings: one canonical form, and no two share one."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from metasched.ir.canonical import as_asked, canonical_hash
from metasched.ir.expr import Binary, Buffer, Expr, Load, Var
from metasched.ir.hash import structural_hash
from metasched.ir.parser import parse
from metasched.ir.stmt import Block, For, IterVar, Program, Region, Seq, Stmt, Store
from metasched.ir.verify import verify
from metasched.ir.walk import as_block, map_expr
from metasched.testing.suite import SUITE, small

COMMUTING = {"add", "mul", "min", "max"}


class Respelling:
    """New names for all, inputs in another order, operands that commute exchanged at random."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.names: dict[str, str] = {}
        self.buffers: dict[Buffer, Buffer] = {}

    def program(self, given: Program) -> Program:
        inputs = list(given.inputs)
        self.rng.shuffle(inputs)
        order = iter(inputs)
        params = [p if p in given.outputs else next(order) for p in given.params]
        root = as_block(self.stmt(given.root))
        return Program(self.name(given.name), tuple(map(self.buffer, params)), root)

    def name(self, old: str) -> str:
        while old not in self.names:
            new = f"x{self.rng.randrange(10**6)}"
            if new not in self.names.values():
                self.names[old] = new
        return self.names[old]

    def buffer(self, old: Buffer) -> Buffer:
        if old not in self.buffers:
            shape = tuple(map(self.expr, old.shape))
            self.buffers[old] = replace(old, name=self.name(old.name), shape=shape)
        return self.buffers[old]

    def expr(self, old: Expr) -> Expr:
        if isinstance(old, Var):
            return Var(self.name(old.name), old.dtype)
        new = map_expr(old, self.expr)
        if isinstance(new, Load):
            return Load(self.buffer(new.buffer), new.indices)
        if isinstance(new, Binary) and new.op in COMMUTING and self.rng.random() < 0.5:
            return Binary(new.op, new.b, new.a)
        return new

    def regions(self, old: tuple[Region, ...]) -> tuple[Region, ...]:
        new = [
            Region(self.buffer(r.buffer), tuple((self.expr(a), self.expr(b)) for a, b in r.ranges))
            for r in old
        ]
        self.rng.shuffle(new)
        return tuple(new)

    def stmt(self, old: Stmt) -> Stmt:
        match old:
            case For():
                var = Var(self.name(old.var.name), old.var.dtype)
                return replace(old, var=var, extent=self.expr(old.extent), body=self.stmt(old.body))
            case Block():
                iters = tuple(
                    IterVar(
                        Var(self.name(i.var.name), i.var.dtype),
                        self.expr(i.extent),
                        i.kind,
                        self.expr(i.binding),
                    )
                    for i in old.iters
                )
                return replace(
                    old,
                    name=self.name(old.name),
                    iters=iters,
                    reads=self.regions(old.reads),
                    writes=self.regions(old.writes),
                    predicate=self.expr(old.predicate),
                    allocs=tuple(map(self.buffer, old.allocs)),
                    init=None if old.init is None else self.stmt(old.init),
                    body=self.stmt(old.body),
                )
            case Store():
                at = tuple(map(self.expr, old.indices))
                return Store(self.buffer(old.buffer), at, self.expr(old.value))
            case Seq():
                return Seq(tuple(map(self.stmt, old.stmts)))
            case _:
                raise TypeError(old)


@pytest.mark.parametrize("name", SUITE)
def test_spelling_does_not_matter(name: str) -> None:
    program = small(name)
    for seed in range(4):
        other = Respelling(seed).program(program)
        verify(other)
        assert canonical_hash(other) == canonical_hash(program)
        assert canonical_hash(parse(str(other))) == canonical_hash(program)
        turned = as_asked(program, program, other)
        assert [p.shape for p in turned.params] == [p.shape for p in other.params]


def test_no_two_operators_share_a_form() -> None:
    programs = {structural_hash(small(name)): small(name) for name in SUITE}
    assert len({canonical_hash(program) for program in programs.values()}) == len(programs)
