"""Loop-nest summaries: what each store of a scheduled program touches, for any tile sizes.

A summary keeps extents and index coefficients as expressions, so one summary serves a concrete
program and, with tile sizes as variables, a whole population of candidates. The cost model reads
it (`metasched.cost.features`); nothing here is numeric.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from metasched.ir.dtype import DType
from metasched.ir.expr import (
    Binary,
    Buffer,
    Call,
    Cast,
    Const,
    Expr,
    Load,
    Select,
    Var,
    const,
    int_value,
    mul,
)
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, For, Program, Seq, Stmt, Store
from metasched.ir.walk import child_stmts, expr_loads, free_vars, substitute, walk_expr


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
        nest: identity of the loop, equal for stores that share it.
    """

    var: Var
    extent: Expr
    reduces: bool
    parallel_safe: bool


@dataclass(frozen=True, slots=True)
class AccessSummary:
    """One buffer access of a store.

    Attributes:
        buffer: what is accessed.
        forms: one index form per dimension.
        kind: "read", "write" or "update" (read and written, as a reduction does).
        guarded: whether a condition decides if it happens (padding).
    """

    buffer: Buffer
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
        extent_share: expected share of iterations on which the block's predicate holds is not
            modelled; `predicated` only says that there is one.
        predicated: whether the block has a predicate.
    """

    block: str
    nest: int
    loops: tuple[LoopSummary, ...]
    accesses: tuple[AccessSummary, ...]
    counts: Mapping[str, int]
    dtype: DType
    reduction: bool
    predicated: bool


@dataclass(frozen=True, slots=True)
class ProgramSummary:
    """The stores of a program in execution order, and its root annotations."""

    stores: tuple[StoreSummary, ...]
    nests: int
    annotations: Mapping[str, Expr]


def summarise(program: Program) -> ProgramSummary:
    """Summarise every store of a program whose leaf blocks hold plain stores."""
    top = program.root.body.stmts if isinstance(program.root.body, Seq) else (program.root.body,)
    stores: list[StoreSummary] = []
    for number, stmt in enumerate(top):
        chain = _outer_chain(stmt)
        _visit(stmt, (), number, chain, stores)
    notes = {
        key: value if isinstance(value, Expr) else const(value)
        for key, value in program.root.annotations
        if isinstance(value, Expr | int)
    }
    return ProgramSummary(tuple(stores), len(top), notes)


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


def _visit(
    stmt: Stmt,
    loops: tuple[For, ...],
    nest: int,
    chain: set[Var],
    stores: list[StoreSummary],
) -> None:
    match stmt:
        case For():
            _visit(stmt.body, (*loops, stmt), nest, chain, stores)
        case Block():
            for node in _leaf_stores(stmt.body):
                stores.append(_summarise_store(stmt, node, loops, nest, chain))
        case _:
            for child in child_stmts(stmt):
                _visit(child, loops, nest, chain, stores)


def _leaf_stores(stmt: Stmt) -> list[Store]:
    if isinstance(stmt, Store):
        return [stmt]
    return [store for child in child_stmts(stmt) for store in _leaf_stores(child)]


def _summarise_store(
    block: Block, store: Store, loops: tuple[For, ...], nest: int, chain: set[Var]
) -> StoreSummary:
    bindings = {it.var: it.binding for it in block.iters}
    reduce_vars: set[Var] = set()
    for it in block.iters:
        if it.kind != "spatial":
            reduce_vars |= free_vars(it.binding)
    position = {loop.var: k for k, loop in enumerate(loops)}
    simplify = Simplifier({loop.var: loop.extent for loop in loops})

    def form(index: Expr) -> LinearForm:
        return _linear(simplify(substitute(index, bindings)), position)

    own = (store.buffer, store.indices)
    reads: dict[tuple[Buffer, tuple[Expr, ...]], bool] = {}
    guarded = _guarded_loads(store.value)
    reduction = False
    for load in expr_loads(store.value):
        if (load.buffer, load.indices) == own:
            reduction = True
        else:
            reads[(load.buffer, load.indices)] = load in guarded
    accesses = [
        AccessSummary(
            store.buffer,
            tuple(form(i) for i in store.indices),
            "update" if reduction else "write",
            False,
        )
    ]
    for (buffer, indices), guard in reads.items():
        accesses.append(AccessSummary(buffer, tuple(form(i) for i in indices), "read", guard))
    summaries = tuple(
        LoopSummary(loop.var, loop.extent, loop.var in reduce_vars, loop.var in chain)
        for loop in loops
    )
    return StoreSummary(
        block.name,
        nest,
        summaries,
        tuple(accesses),
        _counts(store),
        store.buffer.dtype,
        reduction,
        int_value(block.predicate) != 1,
    )


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

COUNTED = ("add", "mul", "div", "special", "compare", "select", "integer")


def _counts(store: Store) -> dict[str, int]:
    counts = dict.fromkeys(COUNTED, 0)
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


def _linear(index: Expr, position: Mapping[Var, int]) -> LinearForm:
    terms: list[Term] = []
    _collect(index, const(1), position, terms)
    return LinearForm(tuple(terms))


def _collect(expr: Expr, scale: Expr, position: Mapping[Var, int], terms: list[Term]) -> None:
    match expr:
        case Var():
            if expr in position:
                terms.append(Term(scale, loop=position[expr]))
        case Binary(op="add"):
            _collect(expr.a, scale, position, terms)
            _collect(expr.b, scale, position, terms)
        case Binary(op="sub"):
            _collect(expr.a, scale, position, terms)
            _collect(expr.b, mul(scale, -1), position, terms)
        case Binary(op="mul"):
            factors = _factors(expr)
            moving = [f for f in factors if free_vars(f) & position.keys()]
            for factor in factors:
                if factor not in moving:
                    scale = mul(scale, factor)
            if len(moving) == 1:
                _collect(moving[0], scale, position, terms)
            else:
                for factor in moving:
                    _collect(factor, scale, position, terms)
        case Binary(op="floordiv" | "floormod"):
            inner = _linear(expr.a, position)
            terms.append(Term(scale, inner=inner, divisor=expr.b, modulo=expr.op == "floormod"))
        case Binary(op="min" | "max"):
            side = expr.a if free_vars(expr.a) & position.keys() else expr.b
            _collect(side, scale, position, terms)
        case Cast():
            _collect(expr.value, scale, position, terms)
        case Select():
            _collect(expr.then, scale, position, terms)
        case Load():
            # A data-dependent index may touch anything its own index ranges over.
            for i in expr.indices:
                _collect(i, scale, position, terms)
        case _:
            pass


def _factors(expr: Expr) -> list[Expr]:
    if isinstance(expr, Binary) and expr.op == "mul":
        return [*_factors(expr.a), *_factors(expr.b)]
    return [expr]


def constant_of(expr: Expr) -> float | None:
    """The number of a constant expression."""
    return float(expr.value) if isinstance(expr, Const) else None
