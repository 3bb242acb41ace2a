"""Loop-nest summaries: what each store of a scheduled program touches, for any tile sizes.

A summary keeps extents and index coefficients as expressions, so one summary serves a concrete
program and, with tile sizes as variables, a whole population of candidates. The cost model reads
it (`metasched.cost.features`); nothing here is numeric.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from metasched.ir.dtype import DType
from metasched.ir.expr import (
    Binary,
    Buffer,
    Call,
    Cast,
    Expr,
    Load,
    Select,
    Var,
    const,
    int_value,
    mul,
)
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, For, Program, Seq, Stmt, Store, annotation
from metasched.ir.walk import (
    child_stmts,
    expr_loads,
    free_vars,
    map_expr,
    substitute,
    walk_expr,
)

_TENSORIZE: Final = "meta_schedule.auto_tensorize"


@dataclass(frozen=True, slots=True)
class Term:
    """``coefficient * atom`` of an index: a loop, or a quotient or remainder of another form."""

    coefficient: Expr
    loop: int | None = None
    inner: LinearForm | None = None
    divisor: Expr | None = None
    modulo: bool = False


@dataclass(frozen=True, slots=True)
class LinearForm:
    """An index as a sum of terms; constants and sizes are dropped, since only spans matter."""

    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class LoopSummary:
    """One loop around a store.

    Attributes:
        var: the loop variable.
        extent: its extent, maybe in tile sizes.
        reduces: whether it drives a reduce iteration of the block.
        parallel_safe: whether it is spatial for every block below and stands in the outer chain.
        thread: the thread axis that it is bound to, if any.
    """

    var: Var
    extent: Expr
    reduces: bool
    parallel_safe: bool
    thread: str | None = None


@dataclass(frozen=True, slots=True)
class AccessSummary:
    """One buffer access of a store.

    Attributes:
        buffer: what is accessed.
        shape: its extents.
        forms: one index form per dimension.
        kind: "read", "write" or "update" (read and written, as a reduction does).
        guarded: whether a condition decides if it happens (padding).
    """

    buffer: Buffer
    shape: tuple[Expr, ...]
    forms: tuple[LinearForm, ...]
    kind: str
    guarded: bool


@dataclass(frozen=True, slots=True)
class StoreSummary:
    """A store with its loops (outermost first), accesses and arithmetic per execution.

    Attributes:
        block: name of its block.
        nest: number of the top-level nest it stands in.
        loops: the loops around it.
        accesses: the write first, then the reads.
        counts: operations per execution by class: add, mul, div, special, compare, select, integer.
        dtype: type of the stored value.
        reduction: whether the store updates what it wrote before.
        predicated: whether the block has a predicate; how often it holds is not modelled.
        notes: the annotations of its block that are numbers.
        tensorized: whether a tensor intrinsic is to compute a tile. Loops of the tile that reduce
            are left out then, since an instruction covers them.
    """

    block: str
    nest: int
    loops: tuple[LoopSummary, ...]
    accesses: tuple[AccessSummary, ...]
    counts: Mapping[str, int]
    dtype: DType
    reduction: bool
    predicated: bool
    notes: Mapping[str, Expr] = field(default_factory=dict[str, Expr])
    tensorized: bool = False


@dataclass(frozen=True, slots=True)
class ProgramSummary:
    """The stores of a program in execution order, and its root annotations.

    Equal expressions are one object, so that tables of their values are looked up by identity;
    ``symbols`` holds the variables among them, which are the tile sizes, by name.
    """

    stores: tuple[StoreSummary, ...]
    nests: int
    annotations: Mapping[str, Expr]
    symbols: Mapping[str, Var]


def summarise(program: Program) -> ProgramSummary:
    """Summarise every store of a program in which all stores stand in blocks."""
    top = program.root.body.stmts if isinstance(program.root.body, Seq) else (program.root.body,)
    found = _Summariser()
    for number, stmt in enumerate(top):
        found.visit(stmt, _Place(number, frozenset(_outer_chain(stmt))))
    notes = found.numbers(program.root)
    symbols = {e.name: e for e in found.known if isinstance(e, Var)}
    return ProgramSummary(tuple(found.stores), len(top), notes, symbols)


def _outer_chain(stmt: Stmt) -> set[Var]:
    """Variables of the outermost loops of a nest that may run in parallel."""
    chain: list[For] = []
    while isinstance(stmt, For):
        chain.append(stmt)
        stmt = stmt.body
    reduce_vars: set[Var] = set()
    stack: list[Stmt] = [stmt]
    while stack:
        node = stack.pop()
        if isinstance(node, Block):
            for it in node.iters:
                if it.kind != "spatial":
                    reduce_vars |= free_vars(it.binding)
        else:
            stack.extend(child_stmts(node))
    safe: set[Var] = set()
    for loop in chain:
        if loop.var in reduce_vars:
            break
        safe.add(loop.var)
    return safe


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a statement stands.

    Attributes:
        nest: number of the top-level nest.
        chain: the outer loops that may run in parallel.
        loops: all loops around, outermost first.
        block: name of the innermost block.
        values: iteration variables of the blocks around, over the loops.
        reduced: the loops that drive reduce iterations of the blocks around.
        predicated: whether one of the blocks around has a predicate.
        notes: the annotations of the innermost block that are numbers.
        tile: number of the outermost loop of a tile for a tensor intrinsic, None outside of one.
    """

    nest: int
    chain: frozenset[Var]
    loops: tuple[For, ...] = ()
    block: str = ""
    values: Mapping[Var, Expr] = field(default_factory=dict[Var, Expr])
    reduced: frozenset[Var] = frozenset()
    predicated: bool = False
    notes: Mapping[str, Expr] = field(default_factory=dict[str, Expr])
    tile: int | None = None

    def within(self, loop: For) -> _Place:
        """The place of a loop's body."""
        begins = annotation(loop.annotations, _TENSORIZE) is not None
        return replace(
            self, loops=(*self.loops, loop), tile=len(self.loops) if begins else self.tile
        )

    def kept(self) -> tuple[For, ...]:
        """The loops around, without those that an instruction covers."""
        return tuple(
            loop
            for number, loop in enumerate(self.loops)
            if self.tile is None or number < self.tile or loop.var not in self.reduced
        )

    def inside(self, block: Block) -> _Place:
        """The place of a block's body."""
        bound = {it.var: substitute(it.binding, self.values) for it in block.iters}
        reduced = {
            v for it in block.iters if it.kind != "spatial" for v in free_vars(bound[it.var])
        }
        return replace(
            self,
            block=block.name,
            values={**self.values, **bound},
            reduced=self.reduced | reduced,
            predicated=self.predicated or int_value(block.predicate) != 1,
        )


class _Summariser:
    """Collects the stores of a program and shares equal expressions between them."""

    def __init__(self) -> None:
        self.stores: list[StoreSummary] = []
        self.known: dict[Expr, Expr] = {}

    def shared(self, expr: Expr) -> Expr:
        """The one object that stands for an expression, its parts shared likewise."""
        found = self.known.get(expr)
        if found is None:
            found = map_expr(expr, self.shared)
            self.known[found] = found
        return found

    def visit(self, stmt: Stmt, at: _Place) -> None:
        """Summarise the stores under a statement."""
        match stmt:
            case For():
                self.visit(stmt.body, at.within(stmt))
            case Block():
                self.visit(stmt.body, replace(at.inside(stmt), notes=self.numbers(stmt)))
            case Store():
                self.stores.append(self.store(stmt, at))
            case _:
                for child in child_stmts(stmt):
                    self.visit(child, at)

    def store(self, store: Store, at: _Place) -> StoreSummary:
        """Summarise one store of a block."""
        loops = at.kept()
        position = {loop.var: k for k, loop in enumerate(loops)}
        simplify = Simplifier({loop.var: loop.extent for loop in at.loops})
        guarded = _guarded_loads(store.value)
        own = (store.buffer, store.indices)
        reads = {(load.buffer, load.indices): load in guarded for load in expr_loads(store.value)}
        reduction = reads.pop(own, None) is not None
        uses = [(*own, "update" if reduction else "write", False)]
        uses += [(buffer, indices, "read", guard) for (buffer, indices), guard in reads.items()]
        accesses = tuple(
            AccessSummary(
                buffer,
                tuple(self.shared(n) for n in buffer.shape),
                tuple(self.linear(simplify(substitute(i, at.values)), position) for i in indices),
                kind,
                guard,
            )
            for buffer, indices, kind, guard in uses
        )
        summaries = tuple(
            LoopSummary(
                loop.var,
                self.shared(loop.extent),
                loop.var in at.reduced,
                loop.var in at.chain,
                loop.thread,
            )
            for loop in loops
        )
        return StoreSummary(
            at.block,
            at.nest,
            summaries,
            accesses,
            _counts(store),
            store.buffer.dtype,
            reduction,
            at.predicated,
            at.notes,
            at.tile is not None,
        )

    def numbers(self, block: Block) -> dict[str, Expr]:
        """The annotations of a block that are numbers, maybe over sampled values."""
        return {
            key: self.shared(value if isinstance(value, Expr) else const(value))
            for key, value in block.annotations
            if isinstance(value, Expr | int)
        }

    def linear(self, index: Expr, position: Mapping[Var, int]) -> LinearForm:
        """An index as a sum of terms over the loops."""
        terms: list[Term] = []
        self.collect(index, const(1), position, terms)
        return LinearForm(tuple(terms))

    def collect(
        self, expr: Expr, scale: Expr, position: Mapping[Var, int], terms: list[Term]
    ) -> None:
        """Add the terms of ``scale * expr``."""
        match expr:
            case Var():
                if expr in position:
                    terms.append(Term(self.shared(scale), loop=position[expr]))
            case Binary(op="add" | "sub"):
                self.collect(expr.a, scale, position, terms)
                negative = mul(scale, -1) if expr.op == "sub" else scale
                self.collect(expr.b, negative, position, terms)
            case Binary(op="mul"):
                factors = _factors(expr)
                moving = [f for f in factors if free_vars(f) & position.keys()]
                for factor in factors:
                    if factor not in moving:
                        scale = mul(scale, factor)
                for factor in moving:
                    self.collect(factor, scale, position, terms)
            case Binary(op="floordiv" | "floormod"):
                inner, divisor = self.linear(expr.a, position), self.shared(expr.b)
                modulo = expr.op == "floormod"
                terms.append(Term(self.shared(scale), inner=inner, divisor=divisor, modulo=modulo))
            case Binary(op="min" | "max"):
                side = expr.a if free_vars(expr.a) & position.keys() else expr.b
                self.collect(side, scale, position, terms)
            case Cast():
                self.collect(expr.value, scale, position, terms)
            case Select():
                self.collect(expr.then, scale, position, terms)
            case Load():
                # A data-dependent index may touch anything its own index ranges over.
                for i in expr.indices:
                    self.collect(i, scale, position, terms)
            case _:
                pass


def _guarded_loads(value: Expr) -> set[Load]:
    found: set[Load] = set()
    for node in walk_expr(value):
        if isinstance(node, Select):
            found.update(expr_loads(node.then))
            found.update(expr_loads(node.other))
    return found


_CLASS = {
    "add": "add", "sub": "add", "min": "add", "max": "add", "mul": "mul", "div": "div",
    "eq": "compare", "ne": "compare", "lt": "compare", "le": "compare",
    "and": "compare", "or": "compare", "floordiv": "integer", "floormod": "integer",
}  # fmt: skip

COUNTED: Final[tuple[str, ...]] = ("add", "mul", "div", "special", "compare", "select", "integer")


def _counts(store: Store) -> dict[str, int]:
    counts: dict[str, int] = dict.fromkeys(COUNTED, 0)
    stack: list[Expr] = [store.value]
    while stack:
        node = stack.pop()
        match node:
            case Load():
                continue
            case Binary():
                # Comparisons are on indices; arithmetic on the data is what is counted as float.
                counts[_CLASS[node.op]] += 1
                if node.op in ("eq", "ne", "lt", "le"):
                    continue
                stack.extend((node.a, node.b))
            case Call():
                counts["special"] += 1
                stack.extend(node.args)
            case Select():
                counts["select"] += 1
                stack.extend((node.cond, node.then, node.other))
            case Cast():
                stack.append(node.value)
            case _:
                pass
    return counts


def _factors(expr: Expr) -> list[Expr]:
    if isinstance(expr, Binary) and expr.op == "mul":
        return [*_factors(expr.a), *_factors(expr.b)]
    return [expr]
