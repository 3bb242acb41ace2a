"""split: one loop into a nest."""

from __future__ import annotations

from metasched.ir.expr import Expr, Var, add, const, floordiv, int_value, less, mul
from metasched.ir.simplify import product, simplify
from metasched.ir.stmt import For
from metasched.schedule.primitives.loop_nest import simplifier_under, why_not_plain
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive, refused
from metasched.schedule.state import State, guard_blocks, rebind


def split(
    state: State,
    loop: str,
    factors: tuple[Expr | int | None, ...],
    *,
    preserve_unit_iters: bool = True,
    disable_predication: bool = False,
) -> tuple[State, tuple[str, ...]]:
    """Split a loop into nested loops with the given extents, outermost first.

    One factor may be None; it becomes what is left, rounded up. Where the product exceeds the
    extent, blocks inside get a predicate that guards the surplus iterations.

    Args:
        state: where to apply.
        loop: the loop to split.
        factors: extents of the new loops.
        preserve_unit_iters: whether loops of extent 1 stay in the bindings of blocks.
        disable_predication: promise that the product equals the extent, for symbolic factors.

    Requires:
        - a serial loop without annotations
        - at most one factor None
        - every factor at least 1
        - factors that cover the extent

    ::

        for i in serial(100):        ->  for i_0 in serial(13):
            ...i...                          for i_1 in serial(8):
                                                 ...i_0 * 8 + i_1...   # where(... < 100)
    """
    target = state.loop(loop, "split")
    extents = _check(state, target, factors)
    total = product(extents)
    exact = disable_predication or _multiply_to(state, extents, target.extent)
    names = state.fresh(*(f"{loop}_{k}" for k in range(len(extents))))
    new = {Var(n, target.var.dtype): e for n, e in zip(names, extents, strict=True)}
    index: Expr = const(0, target.var.dtype)
    for var, extent in new.items():
        index = add(mul(index, extent), var)
    index = simplify(index)
    known = simplifier_under(state, target, new, keep_units=preserve_unit_iters)
    body = rebind(target.body, {target.var: known(index)}, known)
    if not exact and not _equal(total, target.extent):
        body = guard_blocks(body, less(index, target.extent))
    for var, extent in reversed(new.items()):
        body = For(var, extent, body)
    return state.replace(target, body).without("split", loop), names


def _check(state: State, target: For, factors: tuple[Expr | int | None, ...]) -> list[Expr]:
    name = target.var.name
    if given := why_not_plain(target):
        raise refused(
            state, "split", "a serial loop without annotations", given, at=name,
            hint="split before parallel, vectorize, unroll and annotate",
        )  # fmt: skip
    if sum(f is None for f in factors) > 1:
        raise refused(
            state, "split", "at most one factor None", str(list(factors)), at=name,
            hint="give numbers for the others, or split twice",
        )  # fmt: skip
    known = [f if isinstance(f, Expr) else const(f) for f in factors if f is not None]
    for factor in known:
        value = int_value(factor)
        if value is not None and value < 1:
            raise refused(
                state, "split", "every factor at least 1", str(value), at=name,
                hint="give None for a factor to have it computed",
            )  # fmt: skip
    rest = product(known)
    left = simplify(floordiv(target.extent + rest - 1, rest))
    extents = [left if f is None else f if isinstance(f, Expr) else const(f) for f in factors]
    have, need = int_value(product(extents)), int_value(target.extent)
    if have is not None and need is not None and have < need:
        raise refused(
            state, "split", f"factors that cover the extent {need}", f"a product of {have}",
            at=name, hint="give None for one factor to have it computed",
        )  # fmt: skip
    return extents


def _multiply_to(state: State, extents: list[Expr], extent: Expr) -> bool:
    return any(tuple(extents) == factors and _equal(extent, e) for factors, e in state.tiles)


def _equal(a: Expr, b: Expr) -> bool:
    return simplify(a - b) == const(0, a.dtype)


PRIMITIVES.register("split", Primitive("split", split, output="loop", many=True))
