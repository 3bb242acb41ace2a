"""fuse: nested loops into one."""

from __future__ import annotations

from itertools import pairwise

from metasched.ir.expr import Expr, Var, const, floordiv, floormod
from metasched.ir.simplify import product
from metasched.ir.stmt import For
from metasched.ir.walk import free_vars
from metasched.schedule.primitives.loop_nest import simplifier_under, why_not_plain
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive, refused
from metasched.schedule.state import State, rebind


def fuse(
    state: State, *loops: str, preserve_unit_iters: bool = True
) -> tuple[State, tuple[str, ...]]:
    """Fuse perfectly nested loops, given outermost first, into one.

    Args:
        state: where to apply.
        loops: the loops; a single one stays as it is.
        preserve_unit_iters: whether a fused loop of extent 1 stays in the bindings of blocks.

    Requires:
        - at least one loop
        - serial loops without annotations
        - each loop to be the only statement in the one before it
        - extents that do not depend on the other loops

    ::

        for i in serial(4):          ->  for i_j in serial(32):
            for j in serial(8):              ...i_j // 8...i_j % 8...
                ...i...j...
    """
    if not loops:
        hint = "give loops from get_loops"
        raise refused(state, "fuse", "at least one loop", "none", at=None, hint=hint)
    nest = _check(state, loops)
    if len(nest) == 1:
        return state, loops
    total = product(loop.extent for loop in nest)
    (name,) = state.fresh("_".join(loops))
    fused = Var(name, nest[0].var.dtype)
    values: dict[Var, Expr] = {}
    step: Expr = const(1, fused.dtype)
    for loop in reversed(nest):
        index = floordiv(fused, step)
        values[loop.var] = index if loop is nest[0] else floormod(index, loop.extent)
        step = product((loop.extent, step))
    known = simplifier_under(state, nest[0], {fused: total}, keep_units=preserve_unit_iters)
    values = {var: known(value) for var, value in values.items()}
    body = rebind(nest[-1].body, values, known)
    return state.replace(nest[0], For(fused, total, body)).without("fuse", *loops), (name,)


def _check(state: State, names: tuple[str, ...]) -> list[For]:
    nest = [state.loop(name, "fuse") for name in names]
    for loop in nest:
        if given := why_not_plain(loop):
            raise refused(
                state, "fuse", "serial loops without annotations", given, at=loop.var.name,
                hint="fuse before parallel, vectorize, unroll and annotate",
            )  # fmt: skip
    for outer, inner in pairwise(nest):
        if outer.body is not inner:
            raise refused(
                state, "fuse", "each loop to be the only statement in the one before it",
                f"'{inner.var.name}' after '{outer.var.name}'", at=inner.var.name,
                hint="reorder the loops so that they follow each other directly",
            )  # fmt: skip
    for loop in nest:
        for outer in nest:
            if outer.var in free_vars(loop.extent):
                raise refused(
                    state, "fuse", "extents that do not depend on the other loops",
                    f"{loop.extent} of '{loop.var.name}'", at=loop.var.name,
                    hint="fuse only the loops around it or inside it",
                )  # fmt: skip
    return nest


PRIMITIVES.register("fuse", Primitive("fuse", fuse, output="loop"))
