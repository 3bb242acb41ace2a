"""The canonical form of a program, by which databases look workloads up.

Two programs of one canonical form compute the same. Names, the order of the inputs and trivial
rewrites do not matter to it: operands that commute, sums and products of indices, multiplications
by one. Dtypes, layouts, constants, the order of the stages and that of the outputs do. Where inputs
are used so much alike that nothing tells them apart, two programs that are the same may get two
forms: that costs a lookup its hit, and is never a wrong one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from typing import Final

from metasched.ir.expr import Binary, Buffer, Const, Expr, Load, Var, binary
from metasched.ir.hash import structural_hash
from metasched.ir.printer import print_expr
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, For, If, IterVar, Program, Region, Seq, Stmt, Store
from metasched.ir.walk import (
    expr_children,
    expr_loads,
    map_expr,
    map_exprs,
    stores,
    walk_expr,
)

_COMMUTING: Final = frozenset({"add", "mul", "min", "max", "eq", "ne"})


@dataclass(frozen=True, slots=True)
class Canonical:
    """A program in canonical form.

    Attributes:
        program: the form; its names mean nothing.
        order: for each of its parameters, the position of that parameter in the given program.
        hash: equal for programs of one form.
    """

    program: Program
    order: tuple[int, ...]
    hash: str


@lru_cache(maxsize=512)
def canonical(program: Program) -> Canonical:
    """Return the canonical form of an unscheduled program."""
    normal = _Normal()
    root = normal.block(program.root)
    params = tuple(map(normal.buffer, program.params))
    colours = _colours(root, params)
    root = _with_sorted_operands(root, colours)
    order = _order(root, params, colours)
    form = Program("canonical", tuple(params[index] for index in order), root)
    return Canonical(form, order, structural_hash(form))


def canonical_hash(program: Program) -> str:
    """Return the SHA-256 of the canonical form, in hexadecimal."""
    return canonical(program).hash


def as_asked(scheduled: Program, original: Program, asked: Program) -> Program:
    """Return a schedule of ``original`` with its parameters in the order of those of ``asked``.

    The two have one canonical form, and position by position its parameters are the same.
    """
    place = dict(zip(canonical(asked).order, canonical(original).order, strict=True))
    params = tuple(scheduled.params[place[index]] for index in range(len(asked.params)))
    return replace(scheduled, params=params)


@dataclass(slots=True)
class _Normal:
    """Renames variables in the order they are met, and brings index expressions to normal form."""

    _vars: dict[Var, Var] = field(default_factory=dict[Var, Var])
    _buffers: dict[Buffer, Buffer] = field(default_factory=dict[Buffer, Buffer])
    _simplify: Simplifier = field(default_factory=Simplifier)

    def buffer(self, buffer: Buffer) -> Buffer:
        if buffer not in self._buffers:
            self._buffers[buffer] = replace(buffer, shape=tuple(map(self.expr, buffer.shape)))
        return self._buffers[buffer]

    def block(self, block: Block) -> Block:
        iters: list[IterVar] = []
        for axis in block.iters:
            extent, binding = self.expr(axis.extent), self.expr(axis.binding)
            iters.append(IterVar(self._bound(axis.var, extent), extent, axis.kind, binding))
        return replace(
            block,
            iters=tuple(iters),
            reads=self._regions(block.reads),
            writes=self._regions(block.writes),
            predicate=self.expr(block.predicate),
            allocs=tuple(map(self.buffer, block.allocs)),
            init=None if block.init is None else self._stmt(block.init),
            body=self._stmt(block.body),
        )

    def expr(self, expr: Expr) -> Expr:
        return self._tidy(self._renamed(expr))

    def _stmt(self, stmt: Stmt) -> Stmt:
        match stmt:
            case For():
                extent = self.expr(stmt.extent)
                var = self._bound(stmt.var, extent)
                return replace(stmt, extent=extent, var=var, body=self._stmt(stmt.body))
            case Block():
                return self.block(stmt)
            case Store():
                at = tuple(map(self.expr, stmt.indices))
                return Store(self.buffer(stmt.buffer), at, self.expr(stmt.value))
            case Seq():
                return Seq(tuple(map(self._stmt, stmt.stmts)))
            case If():
                other = None if stmt.other is None else self._stmt(stmt.other)
                return If(self.expr(stmt.cond), self._stmt(stmt.then), other)
            case _:
                raise TypeError(f"not a statement of an unscheduled program: {stmt!r}")

    def _regions(self, regions: Iterable[Region]) -> tuple[Region, ...]:
        return tuple(
            Region(self.buffer(r.buffer), tuple((self.expr(a), self.expr(b)) for a, b in r.ranges))
            for r in regions
        )

    def _bound(self, var: Var, extent: Expr) -> Var:
        new = self._var(var)
        self._simplify.bind(new, extent)
        return new

    def _var(self, var: Var) -> Var:
        return self._vars.setdefault(var, Var(f"v{len(self._vars):06}", var.dtype))

    def _renamed(self, expr: Expr) -> Expr:
        if isinstance(expr, Var):
            return self._var(expr)
        mapped = map_expr(expr, self._renamed)
        if isinstance(mapped, Load):
            return Load(self.buffer(mapped.buffer), mapped.indices)
        return mapped

    def _tidy(self, expr: Expr) -> Expr:
        if not expr.dtype.is_float and not expr_loads(expr):
            return self._simplify(expr)
        mapped = map_expr(expr, self._tidy)
        match mapped:
            case Binary(op="mul" | "div") if _is_one(mapped.b):
                return mapped.a
            case Binary(op="mul") if _is_one(mapped.a):
                return mapped.b
            case _:
                return mapped


def _is_one(expr: Expr) -> bool:
    return isinstance(expr, Const) and expr.value == 1


def _colours(root: Block, params: tuple[Buffer, ...]) -> Mapping[Buffer, str]:
    """Tell buffers apart by what they are and how they are used, whatever they are called."""
    written = list(dict.fromkeys(store.buffer for store in stores(root)))
    places = {buffer: f"w{written.index(buffer)}" for buffer in written}
    found = {b: _kind(b, places.get(b, "input")) for b in (*params, *written)}
    uses: dict[Buffer, list[str]] = {buffer: [] for buffer in found}
    for number, store in enumerate(stores(root)):
        for parent, load in _placed_loads(store.value):
            at = ",".join(map(print_expr, load.indices))
            uses.setdefault(load.buffer, []).append(f"{number}:{_role(parent, load)}[{at}]")
    return {
        buffer: sha256(f"{kind} {sorted(uses[buffer])}".encode()).hexdigest()
        for buffer, kind in found.items()
    }


def _kind(buffer: Buffer, place: str) -> str:
    shape = ",".join(map(print_expr, buffer.shape))
    return f"{place} {buffer.dtype} {buffer.scope} ({shape})"


def _placed_loads(value: Expr) -> Iterator[tuple[Expr | None, Load]]:
    """Every load with the expression that it is an operand of."""
    if isinstance(value, Load):
        yield None, value
    for parent in walk_expr(value):
        for child in expr_children(parent):
            if isinstance(child, Load):
                yield parent, child


def _role(parent: Expr | None, load: Load) -> str:
    if not isinstance(parent, Binary):
        return type(parent).__name__
    left = "" if parent.op in _COMMUTING else "left" if parent.a is load else "right"
    return f"{parent.op}{left}"


def _with_sorted_operands(root: Block, colours: Mapping[Buffer, str]) -> Block:
    keys: dict[Expr, str] = {}

    def key(expr: Expr) -> str:
        if expr not in keys:
            keys[expr] = _key(expr, colours)
        return keys[expr]

    def visit(expr: Expr) -> Expr:
        mapped = map_expr(expr, visit)
        if isinstance(mapped, Binary) and mapped.op in _COMMUTING and key(mapped.b) < key(mapped.a):
            return binary(mapped.op, mapped.b, mapped.a)
        return mapped

    sorted_root = map_exprs(root, visit)
    assert isinstance(sorted_root, Block)
    return _with_sorted_reads(sorted_root, colours)


def _with_sorted_reads(block: Block, colours: Mapping[Buffer, str]) -> Block:
    """Reads in an order of their own; te lists them in the order of the loads."""

    def visit(stmt: Stmt) -> Stmt:
        match stmt:
            case Block():
                reads = sorted(
                    stmt.reads, key=lambda r: (colours.get(r.buffer, ""), repr(r.ranges))
                )
                init = None if stmt.init is None else visit(stmt.init)
                return replace(stmt, reads=tuple(reads), init=init, body=visit(stmt.body))
            case For():
                return replace(stmt, body=visit(stmt.body))
            case Seq():
                return Seq(tuple(map(visit, stmt.stmts)))
            case If():
                other = None if stmt.other is None else visit(stmt.other)
                return If(stmt.cond, visit(stmt.then), other)
            case _:
                return stmt

    done = visit(block)
    assert isinstance(done, Block)
    return done


def _key(expr: Expr, colours: Mapping[Buffer, str]) -> str:
    """Text of an expression in which the colours of buffers stand for their names."""

    def named(part: Expr) -> Expr:
        mapped = map_expr(part, named)
        if isinstance(mapped, Load):
            return Load(
                replace(mapped.buffer, name=f"_{colours.get(mapped.buffer)}"), mapped.indices
            )
        return mapped

    return print_expr(named(expr))


def _order(
    root: Block, params: tuple[Buffer, ...], colours: Mapping[Buffer, str]
) -> tuple[int, ...]:
    """Inputs in the order of their first use, those never used by colour, then the outputs."""
    used = [load.buffer for store in stores(root) for load in expr_loads(store.value)]
    first = {buffer: number for number, buffer in reversed(list(enumerate(used)))}
    written = {store.buffer for store in stores(root)}
    inputs = [i for i, buffer in enumerate(params) if buffer not in written]
    inputs.sort(key=lambda i: (first.get(params[i], len(used)), colours[params[i]]))
    return (*inputs, *(i for i, buffer in enumerate(params) if buffer in written))
