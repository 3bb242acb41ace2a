"""decompose_reduction: the init of a reduction as a block of its own."""

from __future__ import annotations

from metasched.analysis.dependence import Scope, driven
from metasched.ir.expr import const, int_value
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, For, seq
from metasched.ir.walk import free_vars, substitute
from metasched.schedule.primitives.placement import Refusal, facts
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.primitives.reduction_init import InitNest, update_of
from metasched.schedule.state import State, edit_stmt


def decompose_reduction(state: State, block: str, loop: str) -> tuple[State, tuple[str, ...]]:
    """Make the init of a reduction a block of its own in front of a loop.

    The init runs over the spatial loops from the given one downwards, which get copies of the same
    kind. The reduction keeps its name and from then on only updates.

    Args:
        state: where to apply.
        block: the reduction.
        loop: the loop in front of which the init is put.

    Returns:
        The init block, ``<block>_init``.

    Requires:
        - a reduction block
        - a loop around the block
        - a loop around all reduce loops of the block (those of extent 1 do not count)
        - loops that drive either spatial or reduce iterations
        - reduce iterations that start at zero
        - loops that run each iteration of the block once

    ::

        for i in serial(64):             ->  for i in serial(64):
            for k in serial(32):                 c[i] = 0
                with init():                     for k in serial(32):
                    c[i] = 0                         c[i] = c[i] + a[i, k]
                c[i] = c[i] + a[i, k]
    """
    target = state.block(block, "decompose_reduction")
    outer = state.loop(loop, "decompose_reduction")
    split = _check(state, target, outer)
    if isinstance(split, Refusal):
        raise split.error(state, "decompose_reduction")
    nest, name = split.build(state, state.simplifier(target))
    update = update_of(target)
    changed = edit_stmt(outer, lambda s: update if s is target else s)
    return state.replace(outer, seq(nest, changed or outer)), (name,)


def _check(state: State, block: Block, outer: For) -> InitNest | Refusal:
    reason = Scope.of(state.scope(block)).why_not_reduction(block)
    if reason is not None or block.init is None:
        return Refusal("a reduction block", reason or f"'{block.name}'", block.name)
    around = state.loops_above(block)
    name = outer.var.name
    position = next((k for k, loop in enumerate(around) if loop is outer), None)
    if position is None:
        return Refusal("a loop around the block", f"'{name}'", name)
    reducing = driven(block.iters, "reduce")
    repeating = [loop for loop in around[:position] if int_value(loop.extent) != 1]
    above = [loop.var.name for loop in repeating if loop.var in reducing]
    if above:
        rule = "a loop around all reduce loops of the block"
        return Refusal(rule, f"'{name}' inside '{above[0]}'", above[0], f"use '{above[0]}'")
    spatial = driven(block.iters, "spatial")
    both = [loop.var.name for loop in around if loop.var in spatial & reducing]
    if both:
        rule = "loops that drive either spatial or reduce iterations"
        return Refusal(rule, f"'{both[0]}', which drives both", both[0])
    fixed = [x for x in around[:position] if x not in repeating and x.var in reducing]
    start = {loop.var: const(0, loop.var.dtype) for loop in (*fixed, *around[position:])}
    known = Simplifier()
    for it in block.iters:
        if it.kind == "reduce" and known(substitute(it.binding, start)) != const(0, it.var.dtype):
            given = f"'{it.var.name}' bound to {it.binding}"
            return Refusal("reduce iterations that start at zero", given, block.name)
    below = around[position:]
    if not facts(state).is_one_to_one((it.binding for it in block.iters), [x.var for x in below]):
        rule = "loops that run each iteration of the block once"
        given = f"'{name}', in which '{block.name}' is computed again and again"
        return Refusal(rule, given, name, "use a loop further inside")
    guarded = free_vars(block.predicate) - reducing
    loops = tuple(loop for loop in below if loop.var in spatial | guarded)
    return InitNest(block, block.init, loops, start)


PRIMITIVES.register(
    "decompose_reduction", Primitive("decompose_reduction", decompose_reduction, output="block")
)
