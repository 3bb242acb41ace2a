"""compute_inline: a producer's formula in place of every read of its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from metasched.analysis.access import (
    simplify_indices,
    single_store,
    why_not_elementwise,
    with_regions,
)
from metasched.analysis.dependence import Scope, domain_guards, reads
from metasched.analysis.facts import Facts
from metasched.ir.expr import Buffer, Expr, Load, Var, const, int_value
from metasched.ir.regions import element, full, hull
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, For, Region, Stmt, Store
from metasched.ir.walk import expr_loads, map_expr, map_exprs, substitute, walk
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.state import State, blocks_under


def compute_inline(state: State, block: str) -> tuple[State, tuple[str, ...]]:
    """Put a producer's formula in place of every read of its result, and drop the producer.

    Args:
        state: where to apply.
        block: the producer.

    Requires:
        - a complete block
        - a block whose result is not an output
        - a block whose result is read
        - readers of elements (neither blocks of other blocks nor tensorized ones)
        - a single store at the block's own iterations
        - a block without a condition
        - a block that reads what stays as it is

    ::

        for i in serial(64):             ->  for i in serial(64):
            b[i] = a[i] + 1                      c[i] = (a[i] + 1) * 2
        for i in serial(64):
            c[i] = b[i] * 2
    """
    target = state.block(block, "compute_inline")
    scope = Scope.of(state.scope(target))
    checked = _check(scope, target)
    if isinstance(checked, Refusal):
        raise checked.error(state, "compute_inline")
    store, formula = checked

    def change(node: Stmt) -> Stmt | None:
        if not isinstance(node, Block):
            return node
        if node.name == block:
            return None
        if node.name == scope.root.name:
            return replace(node, allocs=tuple(b for b in node.allocs if b != store.buffer))
        if not reads(node, store.buffer):
            return node
        around = state.iters_around(state.tree.blocks[node.name])
        return _inlined(node, store.buffer, formula, around)

    new = state.edit(change)
    gone = state.tree.loops.keys() - new.tree.loops.keys()
    return new.without("compute_inline", block, *gone), ()


def can_compute_inline(state: State, block: str) -> str | None:
    """Why `compute_inline` would refuse, or None."""
    target = state.block(block, "compute_inline")
    checked = _check(Scope.of(state.scope(target)), target)
    return str(checked) if isinstance(checked, Refusal) else None


Formula = Callable[[tuple[Expr, ...]], Expr]
"""The value of a block's result at given indices."""


def _check(scope: Scope, block: Block) -> tuple[Store, Formula] | Refusal:
    name = block.name
    if (reason := scope.why_not_complete(block)) is not None:
        hint = "use reverse_compute_at for what follows a reduction" if block.init else ""
        return Refusal("a complete block", reason, name, hint)
    if scope.is_output(block):
        return Refusal("a block whose result is not an output", f"'{name}'", name)
    if not scope.consumers(block):
        return Refusal("a block whose result is read", f"'{name}'", name)
    for reader in scope.readers(block.writes[0].buffer):
        if reason := why_not_elementwise(reader):
            rule, hint = "readers of elements", "inline before blockize and tensorize"
            return Refusal(rule, reason, reader.name, hint)
    rule = "a single store at the block's own iterations"
    store = single_store(block)
    if store is None:
        return Refusal(rule, "several statements", name)
    indexed = [i for i in store.indices if isinstance(i, Var)]
    loose = {it.var for it in block.iters if int_value(it.extent) != 1} - set(indexed)
    if len(set(indexed)) < len(store.indices) or loose:
        return Refusal(rule, f"'{store}'", name)
    if domain_guards(block)[1]:
        return Refusal("a block without a condition", f"{block.predicate}", name)
    if (reason := scope.why_not_steady(block)) is not None:
        rule = "a block that reads what stays as it is"
        return Refusal(rule, reason, name, "inline before rolling_buffer")
    unit = {it.var: const(0, it.var.dtype) for it in block.iters if it.var not in indexed}

    def formula(at: tuple[Expr, ...]) -> Expr:
        return substitute(store.value, {**unit, **dict(zip(indexed, at, strict=True))})

    return store, formula


def _inlined(block: Block, buffer: Buffer, formula: Formula, around: Mapping[Var, Expr]) -> Block:
    """A reader with the formula in place of its loads of ``buffer``; blocks inside are done."""
    ranges = {**around, **{it.var: it.extent for it in block.iters}}
    if any(blocks_under(block.body)):
        return _around_inlined(block, buffer, formula, ranges)
    loops = {node.var: node.extent for node in walk(block.body) if isinstance(node, For)}
    simplify = Simplifier({**ranges, **loops}, keep_units=True)

    def replaced(expr: Expr) -> Expr:
        mapped = map_expr(expr, replaced)
        if isinstance(mapped, Load) and mapped.buffer == buffer:
            return simplify_indices(formula(mapped.indices), simplify)
        return mapped

    init = None if block.init is None else map_exprs(block.init, replaced)
    changed = replace(block, body=map_exprs(block.body, replaced), init=init)
    return with_regions(changed)


def _around_inlined(
    block: Block, buffer: Buffer, formula: Formula, ranges: Mapping[Var, Expr]
) -> Block:
    """A block around readers, which reads what the formula reads instead of ``buffer``."""
    boxes: dict[Buffer, Region] = {}

    def add_region(region: Region, known: Facts) -> None:
        seen = boxes.get(region.buffer)
        boxes[region.buffer] = region if seen is None else hull(seen, region, known.simplify)

    for region in block.reads:
        if region.buffer != buffer:
            add_region(region, Facts(ranges))
            continue
        places = {Var(f"{buffer.name}.{k}"): e for k, (_, e) in enumerate(region.ranges)}
        known = Facts({**ranges, **places})
        at = tuple(low + var for (low, _), var in zip(region.ranges, places, strict=True))
        for load in expr_loads(formula(at)):
            found = known.box(element((load.buffer, load.indices)), {}, places)
            whole = full(load.buffer).ranges
            pairs = tuple(pair or size for pair, size in zip(found, whole, strict=True))
            add_region(Region(load.buffer, pairs), known)
    return replace(block, reads=tuple(boxes.values()))


PRIMITIVES.register("compute_inline", Primitive("compute_inline", compute_inline))
