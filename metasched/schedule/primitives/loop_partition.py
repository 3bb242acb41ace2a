"""loop_partition: the iterations of a loop shared out between loops that follow each other."""

from __future__ import annotations

from metasched.analysis.dependence import direct_blocks, driven
from metasched.ir.expr import Expr, add, const, int_value
from metasched.ir.simplify import simplify
from metasched.ir.stmt import Block, For, Stmt, seq
from metasched.ir.walk import substitute
from metasched.schedule.primitives.duplicate import renamings
from metasched.schedule.primitives.loop_nest import simplifier_under, why_not_plain
from metasched.schedule.primitives.placement import facts
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive, refused
from metasched.schedule.primitives.reduction_init import update_of
from metasched.schedule.state import State, edit_stmt, rebind


def loop_partition(
    state: State,
    loop: str,
    factors: tuple[Expr | int | None, ...],
    *,
    preserve_unit_iters: bool = True,
) -> tuple[State, tuple[str, ...]]:
    """Cut a loop into loops that follow each other, each with a copy of what is in it.

    A number of iterations may be None: it becomes what is left. Where the numbers add up to less
    than the extent, a last loop has the rest. Everything inside is renamed: copies of ``b`` are
    ``b_0``, ``b_1`` and so on; `Schedule.get_child_blocks` finds them. A reduction that the loop
    drives starts in the first copy; the others only update.

    Args:
        state: where to apply.
        loop: the loop.
        factors: how many iterations each new loop has.
        preserve_unit_iters: whether loops of extent 1 stay in the bindings of blocks.

    Requires:
        - a serial loop without annotations
        - at least one factor, and at most one of them None
        - every factor at least 1
        - factors that are known to fit the extent (with 1 left for None)
        - a loop that drives either spatial or reduce iterations (of a reduction)
        - reduce iterations that start at zero and run once

    ::

        for i in serial(10):         ->  for i_0 in serial(4):
            ...i...                          ...i_0...
                                         for i_1 in serial(6):
                                             ...i_1 + 4...
    """
    target = state.loop(loop, "loop_partition")
    extents = _extents(state, target, factors)
    for block in direct_blocks(target.body):
        _check_reduction(state, target, block)
    copies: list[For] = []
    offset: Expr = const(0, target.var.dtype)
    for extent, own in zip(extents, renamings(state, target, len(extents)), strict=True):
        body = _updates(target) if copies else target.body
        known = simplifier_under(
            state, target, {target.var: extent}, keep_units=preserve_unit_iters
        )
        body = rebind(body, {target.var: known(add(target.var, offset))}, known)
        copies.append(own.loop(For(target.var, extent, body)))
        offset = simplify(add(offset, extent))
    new = state.replace(target, seq(*copies))
    return new.without("loop_partition", *_lost(state, new)), tuple(c.var.name for c in copies)


def _lost(state: State, new: State) -> set[str]:
    """The names of loops and blocks that are gone."""
    old = state.tree.loops.keys() | state.tree.blocks.keys()
    return {*old} - new.tree.loops.keys() - new.tree.blocks.keys()


def _extents(state: State, target: For, factors: tuple[Expr | int | None, ...]) -> list[Expr]:
    name, dtype = target.var.name, target.var.dtype
    if given := why_not_plain(target):
        raise refused(
            state, "loop_partition", "a serial loop without annotations", given, at=name,
            hint="partition before parallel, vectorize, unroll and annotate",
        )  # fmt: skip
    if not factors or sum(f is None for f in factors) > 1:
        rule = "at least one factor, and at most one of them None"
        raise refused(state, "loop_partition", rule, str(list(factors)), at=name)
    sizes = [f if f is None or isinstance(f, Expr) else const(f, dtype) for f in factors]
    for size in sizes:
        value = None if size is None else int_value(size)
        if value is not None and value < 1:
            raise refused(state, "loop_partition", "every factor at least 1", str(value), at=name)
    total = sum((s for s in sizes if s is not None), start=const(0, dtype))
    left = simplify(target.extent - total)
    if None not in sizes:
        if left == const(0, dtype):
            return [s for s in sizes if s is not None]
        sizes.append(None)
    if not facts(state).nonneg(left - 1):
        raise refused(
            state, "loop_partition", f"factors that are known to fit the extent {target.extent}",
            f"a sum of {simplify(total)}", at=name,
            hint="give None for one factor to have it computed",
        )  # fmt: skip
    return [left if s is None else s for s in sizes]


def _check_reduction(state: State, target: For, block: Block) -> None:
    """Copies but the first do without the init, so they must never be where it runs."""
    reducing = driven(block.iters, "reduce")
    if block.init is None or target.var not in reducing:
        return
    name = target.var.name
    if target.var in driven(block.iters, "spatial"):
        raise refused(
            state, "loop_partition", "a loop that drives either spatial or reduce iterations",
            f"'{name}', which drives both of block '{block.name}'", at=name,
            hint="partition before fuse",
        )  # fmt: skip
    bindings = [it.binding for it in block.iters if it.kind == "reduce"]
    start = {var: const(0, var.dtype) for var in reducing}
    zeros = all(simplify(substitute(b, start)) == const(0, b.dtype) for b in bindings)
    if not zeros or not facts(state).is_one_to_one(bindings, reducing):
        raise refused(
            state, "loop_partition", "reduce iterations that start at zero and run once",
            f"'{name}', in which those of block '{block.name}' do not", at=name,
            hint="use decompose_reduction first",
        )  # fmt: skip


def _updates(target: For) -> Stmt:
    """The body of the loop without the inits of the reductions that it drives."""

    def change(node: Stmt) -> Stmt:
        if isinstance(node, Block) and node.init is not None:
            return update_of(node) if target.var in driven(node.iters, "reduce") else node
        return node

    body = edit_stmt(target.body, change, into_blocks=False)
    assert body is not None, "nothing is dropped"
    return body


PRIMITIVES.register(
    "loop_partition", Primitive("loop_partition", loop_partition, output="loop", many=True)
)
