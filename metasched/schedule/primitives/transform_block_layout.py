"""transform_block_layout: the domain of a block laid out anew."""

from __future__ import annotations

from dataclasses import dataclass, replace

from metasched.errors import UsageError
from metasched.ir.expr import Expr, Var
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, IterKind, Stmt
from metasched.ir.walk import as_block, free_vars, map_exprs, substitute
from metasched.schedule.index_map import IndexMap
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.primitives.plain_nest import (
    NewAxes,
    PlainNest,
    read_map,
    serial_nest,
    simplified,
    within,
)
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.state import State


def transform_block_layout(
    state: State, block: str, index_map: str
) -> tuple[State, tuple[str, ...]]:
    """Let a block run over the iterations that a map makes of its own.

    The loops around the block give way to one loop per output of the map, in that order. Only the
    order of the work changes; where buffers shall follow, use `transform_layout`.

    Args:
        state: where to apply.
        block: the block.
        index_map: from the iterations of the block to the new ones, as
            ``"i, j -> [i // 4, j, i % 4]"`` or a function.

    Requires:
        - loops around the block alone
        - a loop of its own for each iteration
        - loops of fixed extents
        - serial loops without annotations
        - an index map
        - an index map with one index for each iteration
        - a map that gives each index one iteration, without padding
        - new iterations that are either spatial or reduce
        - a map that keeps a reduce iteration of a block with an init
        - a block without opaque iterations

    ::

        for i in serial(4):              ->  for ax0 in serial(32):
            for j in serial(8):                  b[ax0 // 8, ax0 % 8] = a[ax0 // 8, ax0 % 8]
                b[i, j] = a[i, j]            # i, j -> [i * 8 + j]
    """
    target = state.block(block, "transform_block_layout")
    change = _check(state, target, index_map)
    if isinstance(change, Refusal):
        raise change.error(state, "transform_block_layout")
    axes = NewAxes.of(state, len(change.extents))
    new = state.replace(change.nest.top, change.rebuilt(axes, within(state, target)))
    gone = (loop.var.name for loop in change.nest.loops)
    return new.without("transform_block_layout", *gone), ()


@dataclass(frozen=True, slots=True)
class _Change:
    """A nest, the extents and kinds of its new iterations, and the old ones over the new."""

    nest: PlainNest
    extents: tuple[Expr, ...]
    kinds: tuple[IterKind, ...]
    inverse: IndexMap

    def rebuilt(self, axes: NewAxes, known: Simplifier) -> Stmt:
        """The block in its new loops; ``known`` holds what is known in its body."""
        block = self.nest.block
        for var, extent in zip(axes.iters, self.extents, strict=True):
            known.bind(var, extent)
        old = [it.var for it in block.iters]
        values = dict(zip(old, self.inverse.map_indices(axes.iters, known), strict=True))
        at = dict(zip(old, self.inverse.map_indices(axes.loops), strict=True))
        driving = {it.binding: at[it.var] for it in block.iters if isinstance(it.binding, Var)}

        def visit(expr: Expr) -> Expr:
            moved = substitute(expr, values)
            return expr if moved is expr else simplified(moved, known)

        changed = as_block(map_exprs(replace(block, iters=()), visit))
        iters = axes.bound(self.extents, self.kinds)
        predicate = substitute(block.predicate, driving)
        return axes.around(replace(changed, iters=iters, predicate=predicate), self.extents)


def _check(state: State, block: Block, text: str) -> _Change | Refusal:
    nest = serial_nest(state, block)
    if isinstance(nest, Refusal):
        return nest
    index_map = read_map(text, len(block.iters), "iteration", block.name)
    if isinstance(index_map, Refusal):
        return index_map
    shape = [it.extent for it in block.iters]
    try:
        extents, inverse = index_map.map_shape(shape), index_map.inverse(shape)
    except UsageError as error:
        rule = "a map that gives each index one iteration, without padding"
        return Refusal(rule, str(error), block.name, "pad_einsum pads the domain of a block")
    kinds = _kinds(block, index_map)
    return kinds if isinstance(kinds, Refusal) else _Change(nest, extents, kinds, inverse)


def _kinds(block: Block, index_map: IndexMap) -> tuple[IterKind, ...] | Refusal:
    kind_of = dict(zip(index_map.inputs, block.iters, strict=True))
    if any(it.kind == "opaque" for it in block.iters):
        given = f"'{block.name}', whose iterations must stay in order"
        return Refusal("a block without opaque iterations", given, block.name)
    found: list[IterKind] = []
    for output in index_map.outputs:
        reduces = {kind_of[v].kind == "reduce" for v in free_vars(output)}
        if len(reduces) > 1:
            given = f"{output} of spatial and reduce iterations"
            return Refusal("new iterations that are either spatial or reduce", given, block.name)
        found.append("reduce" if True in reduces else "spatial")
    if block.init is not None and "reduce" not in found:
        given = f"'{index_map}'"
        rule = "a map that keeps a reduce iteration of a block with an init"
        return Refusal(rule, given, block.name)
    return tuple(found)


PRIMITIVES.register(
    "transform_block_layout", Primitive("transform_block_layout", transform_block_layout)
)
