"""What the padding of a buffer holds: made by the block that computes the buffer, or filled in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from metasched.analysis.access import EXPLICIT, explicit_regions, with_regions
from metasched.errors import UsageError
from metasched.ir.expr import (
    TRUE,
    Binary,
    Buffer,
    Const,
    Expr,
    Var,
    cast,
    const,
    equal,
    int_value,
    less,
    less_equal,
    logical_and,
    select,
)
from metasched.ir.regions import element
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, Stmt, Store, seq
from metasched.ir.walk import loads, stores, substitute
from metasched.schedule.index_map import IndexMap
from metasched.schedule.primitives.new_layout import NewLayout
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.primitives.plain_nest import (
    NewAxes,
    PlainNest,
    serial_nest,
    simplified,
)
from metasched.schedule.primitives.staging import top_statements
from metasched.schedule.state import State


@dataclass(frozen=True, slots=True)
class Padding:
    """Where a new layout holds no element, and what it holds there.

    Args:
        inverse: from the new indices to the old ones.
        where: over the inputs of the inverse.
        value: over the inputs of the inverse.
    """

    inverse: IndexMap
    where: Expr
    value: Expr

    def at(self, indices: Sequence[Expr], known: Simplifier) -> tuple[Expr, Expr]:
        """Where there is padding, and its value, over some indices."""
        values = dict(zip(self.inverse.inputs, indices, strict=True))
        return known(substitute(self.where, values)), substitute(self.value, values)


def pad_expr(given: int | float | str, new: Buffer, at: str) -> Expr | Refusal:
    """What padding holds, over the indices ``ax0``, ``ax1``... of the new buffer."""
    rule, dtype = "a pad value that the buffer can hold", new.dtype
    if isinstance(given, str):
        try:
            index_map = IndexMap.parse(given)
        except UsageError as error:
            return Refusal(rule, f"{error}", at)
        if len(index_map.inputs) != len(new.shape) or len(index_map.outputs) != 1:
            axes = len(new.shape)
            return Refusal(rule, f"'{index_map}', which is no map of {axes} indices to 1", at)
        (value,) = index_map.map_indices([Var(f"ax{k}") for k in range(len(new.shape))])
        return cast(value, dtype)
    if isinstance(given, float) and not math.isfinite(given):
        return Refusal(rule, f"{given}, which traces cannot hold", at)
    if dtype.is_float:
        return const(float(given), dtype)
    bits = 1 if dtype.code == "bool" else dtype.bits
    low = -(1 << bits - 1) if dtype.code == "int" else 0
    if given != int(given) or not low <= given < low + (1 << bits):
        return Refusal(rule, f"{given} for {dtype}", at)
    return const(bool(given) if dtype.code == "bool" else int(given), dtype)


def with_padding(before: State, done: State, layout: NewLayout, padding: Padding) -> State:
    """The state in the new layout with its padding made.

    Args:
        before: the state before the layout was changed.
        done: the state after it.
        layout: the change.
        padding: what to make.
    """
    home = _home(done, layout.new)
    writing = [s for s in top_statements(home) if any(t.buffer == layout.new for t in stores(s))]
    if not writing:
        return done
    nest = _whole(before, layout.old)
    if nest is not None:
        return _made_along(before, done, nest, layout, padding)
    behind = writing[-1]
    return done.replace(behind, seq(behind, _fill(done, layout.new, padding)))


def _home(state: State, buffer: Buffer) -> Block:
    """The block in which a buffer lives."""
    homes = (b for b in state.tree.blocks.values() if buffer in b.allocs)
    return next(homes, state.program.root)


def _whole(state: State, buffer: Buffer) -> PlainNest | None:
    """The nest of plain loops that alone computes a buffer, each element once; None otherwise."""
    writers = [b for b in state.tree.blocks.values() if isinstance(b.body, Store)]
    writers = [b for b in writers if any(s.buffer == buffer for s in stores(b))]
    if len(writers) != 1 or len([s for s in stores(state.program.root) if s.buffer == buffer]) > 1:
        return None
    (block,) = writers
    plain = all(it.kind == "spatial" for it in block.iters) and block.init is None
    plain = plain and not any(explicit_regions(block, verb) for verb in EXPLICIT)
    if not plain or block.predicate != TRUE or any(x.buffer == buffer for x in loads(block.body)):
        return None
    if state.scope(block) is not _home(state, buffer) or not _stores_all(block, buffer):
        return None
    nest = serial_nest(state, block)
    return None if isinstance(nest, Refusal) else nest


def _stores_all(block: Block, buffer: Buffer) -> bool:
    """Whether the iterations of a block store each element of a buffer once."""
    (store,) = stores(block.body)
    extents = {it.var: it.extent for it in block.iters}
    for index, size in zip(store.indices, buffer.shape, strict=True):
        fixed = isinstance(index, Const) and int_value(size) == 1
        if not fixed and (not isinstance(index, Var) or extents.pop(index, None) != size):
            return False
    return all(int_value(extent) == 1 for extent in extents.values())


def _made_along(
    before: State, done: State, nest: PlainNest, layout: NewLayout, padding: Padding
) -> State:
    """The block of a nest over the new shape, which stores the padding along."""
    new, block = layout.new, done.block(nest.block.name)
    axes = NewAxes.of(done, len(new.shape))
    known = done.simplifier(block)
    for var, extent in zip(axes.iters, new.shape, strict=True):
        known.bind(var, extent)
    (store,) = stores(nest.block.body)
    at = dict(zip(store.indices, padding.inverse.map_indices(axes.iters, known), strict=True))
    values = {it.var: at.get(it.var, const(0, it.var.dtype)) for it in block.iters}
    where, value = padding.at(axes.iters, known)
    (made,) = stores(block.body)
    element_value = simplified(substitute(made.value, values), known)
    changed = replace(
        block,
        iters=axes.bound(new.shape),
        body=Store(new, axes.iters, select(_complement(where), element_value, value)),
    )
    top = done.loop(nest.loops[0].var.name) if nest.loops else block
    state = done.replace(top, axes.around(with_regions(changed), new.shape))
    return state.without("transform_layout", *(loop.var.name for loop in nest.loops))


def _complement(where: Expr) -> Expr:
    """Where some comparisons, joined by "or", do not hold."""
    match where:
        case Binary(op="or", a=a, b=b):
            return logical_and(_complement(a), _complement(b))
        case Binary(op="lt", a=a, b=b):
            return less_equal(b, a)
        case Binary(op="le", a=a, b=b):
            return less(b, a)
        case Binary(op="ne", a=a, b=b):
            return equal(a, b)
        case _:
            return equal(where, False)


def _fill(state: State, new: Buffer, padding: Padding) -> Stmt:
    """A nest that stores the padding alone."""
    axes = NewAxes.of(state, len(new.shape))
    (name,) = state.fresh(f"{new.name}_pad")
    known = Simplifier(dict(zip(axes.loops, new.shape, strict=True)))
    where, _ = padding.at(axes.loops, known)
    _, value = padding.at(axes.iters, known)
    block = Block(
        name,
        axes.bound(new.shape),
        (),
        (element((new, axes.iters)),),
        Store(new, axes.iters, value),
        predicate=where,
    )
    return axes.around(block, new.shape)
