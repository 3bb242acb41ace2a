"""What the rules ask about blocks: bindings, reuse, strides, elementwise accesses.

Every answer depends on the structure of the program, never on sampled tile sizes, so that a rule
takes the same way whatever was drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

from metasched.ir.expr import TRUE, Binary, Buffer, Call, Expr, Load, Select, Var, const, int_value
from metasched.ir.simplify import Simplifier, product
from metasched.ir.stmt import Block, For, IterVar, Region, Seq, Store
from metasched.ir.walk import (
    child_stmts,
    expr_loads,
    free_vars,
    stmt_exprs,
    stores,
    substitute,
    walk,
    walk_expr,
)
from metasched.schedule.state import State, blocks_under


def is_root(state: State, block: Block) -> bool:
    """Whether a block is the root of the program."""
    return block is state.program.root


def is_spatial(block: Block) -> bool:
    """Whether every iteration variable is spatial."""
    return all(it.kind == "spatial" for it in block.iters)


def is_reduction(block: Block) -> bool:
    """Whether a block reduces and still holds its init."""
    return block.init is not None and any(it.kind == "reduce" for it in block.iters)


def single_store(block: Block) -> Store | None:
    """The store of a block whose body is one store, else None."""
    return block.body if isinstance(block.body, Store) else None


def writes_output(state: State, block: Block) -> bool:
    """Whether a block writes a parameter of the program."""
    return any(r.buffer in state.program.params for r in block.writes)


def iter_loops(state: State, block: Block) -> tuple[For, ...] | None:
    """The loop of each iteration variable, in order of the variables.

    None unless each variable is bound to a loop of its own, every loop around the block is one of
    them, and they hold nothing but each other and the block.
    """
    loops = state.loops_above(block)
    by_var = {loop.var: loop for loop in loops}
    bound = [by_var.get(it.binding) if isinstance(it.binding, Var) else None for it in block.iters]
    found = tuple(loop for loop in bound if loop is not None)
    if len(found) != len(bound) or len(set(found)) != len(loops) or len(found) != len(loops):
        return None
    chain = all(not isinstance(loop.body, Seq) for loop in loops)
    return found if chain and block.predicate == TRUE else None


def iters_of(block: Block, kind: str) -> tuple[IterVar, ...]:
    """The iteration variables of one kind, in order."""
    return tuple(it for it in block.iters if it.kind == kind)


def domain_size(block: Block, kind: str) -> int | None:
    """The product of the extents of one kind of iteration variables; None when symbolic."""
    return int_value(product(it.extent for it in iters_of(block, kind)))


def region_vars(region: Region) -> set[Var]:
    """The variables that decide where a region lies."""
    return {v for low, extent in region.ranges for e in (low, extent) for v in free_vars(e)}


def has_reuse(block: Block) -> bool:
    """Whether a reduction reads some operand again along a spatial iteration variable.

    Operands that the reduction does not run through, such as a row's mean, do not count.
    """
    if len(block.writes) != 1 or not block.reads or not is_reduction(block):
        return False
    spatial = {it.var for it in iters_of(block, "spatial")}
    reduced = {it.var for it in iters_of(block, "reduce")}
    used = [region_vars(region) for region in block.reads]
    return any(spatial - variables and reduced & variables for variables in used)


def consumers(state: State, block: Block) -> list[Block]:
    """The blocks of the same scope that read what a block writes, in program order."""
    written = {r.buffer for r in block.writes}
    scope = state.scope(block)
    return [
        other
        for other in blocks_under(scope.body)
        if other is not block and any(r.buffer in written for r in other.reads)
    ]


def producers(state: State, block: Block) -> list[Block]:
    """The blocks of the same scope that write what a block reads, in program order."""
    read = {r.buffer for r in block.reads}
    scope = state.scope(block)
    return [
        other
        for other in blocks_under(scope.body)
        if other is not block and any(r.buffer in read for r in other.writes)
    ]


def same_point(block: Block, buffer: Buffer) -> bool:
    """Whether an elementwise block reads ``buffer`` only at the very indices it writes."""
    store = single_store(block)
    if store is None or not is_spatial(block) or len(block.writes) != 1:
        return False
    found = [load for load in expr_loads(store.value) if load.buffer == buffer]
    if not all(load.indices == store.indices for load in found):
        return False
    # Every iteration variable must index the store, each in a dimension of its own.
    return bool(found) and [*store.indices] == [it.var for it in block.iters]


def has_condition(block: Block) -> bool:
    """Whether the body chooses between values."""
    return any(
        isinstance(node, Select)
        for stmt in walk(block.body)
        for expr in stmt_exprs(stmt)
        for node in walk_expr(expr)
    )


def intrinsics(block: Block) -> set[str]:
    """The intrinsics that the body calls."""
    return {
        node.fn
        for stmt in walk(block.body)
        for expr in stmt_exprs(stmt)
        for node in walk_expr(expr)
        if isinstance(node, Call)
    }


def is_injective_read(region: Region) -> bool:
    """Whether a region is a point indexed by distinct variables, each with an offset at most."""
    if any(int_value(extent) != 1 for _, extent in region.ranges):
        return False
    seen: set[Var] = set()
    for low, _ in region.ranges:
        moving = free_vars(low)
        if len(moving) > 1 or moving & seen:
            return False
        if moving and int_value(_slope(low, next(iter(moving)))) != 1:
            return False
        seen |= moving
    return True


def is_ordered_read(region: Region, iters: Sequence[IterVar]) -> bool:
    """Whether the variables index a region in the order in which the block lists them."""
    order = {it.var: k for k, it in enumerate(iters)}
    used = [order[v] for low, _ in region.ranges for v in free_vars(low) if v in order]
    return used == sorted(used)


def _slope(index: Expr, var: Var) -> Expr:
    """How much an index moves when a variable grows by one."""
    return Simplifier()(substitute(index, {var: var + 1}) - index)


def stride(load: Load | Store, var: Var) -> Expr | None:
    """Elements between what neighbouring values of a variable touch; None when that varies."""
    total: Expr = const(0)
    step: Expr = const(1)
    for index, size in zip(reversed(load.indices), reversed(load.buffer.shape), strict=True):
        slope = _slope(index, var)
        if var in free_vars(slope):
            return None
        total = total + slope * step
        step = step * size
    return Simplifier()(total)


def body_loads(block: Block, buffer: Buffer) -> list[Load]:
    """The loads of a buffer in a block's body."""
    return [
        load
        for store in stores(block.body)
        for load in expr_loads(store.value)
        if load.buffer == buffer
    ]


def index_iters(block: Block, buffer: Buffer) -> set[Var]:
    """The iteration variables that index a buffer in a block's body."""
    own = {it.var for it in block.iters}
    found = {v for load in body_loads(block, buffer) for i in load.indices for v in free_vars(i)}
    return found & own


def has_quotient(expr: Expr) -> bool:
    """Whether an index divides or takes a remainder."""
    return any(
        isinstance(node, Binary) and node.op in ("floordiv", "floormod") for node in walk_expr(expr)
    )


def post_order(state: State) -> tuple[str, ...]:
    """Names of all blocks: nested ones before those around them, consumers before producers."""
    found: list[str] = []

    def visit(block: Block) -> None:
        stack = [block.body]
        inner: list[Block] = []
        while stack:
            node = stack.pop()
            if isinstance(node, Block):
                inner.append(node)
            else:
                stack.extend(child_stmts(node))
        for child in inner:
            visit(child)
        found.append(block.name)

    visit(state.program.root)
    return tuple(found)
