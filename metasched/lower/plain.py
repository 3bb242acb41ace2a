"""The numeric reference: an unscheduled program with simple loops and wide accumulators.

Nothing is reordered, so the result is right whenever `blocks` and `flatten` are; reductions of
floats run in float64. The outer spatial loops share one parallel loop, since references of large
convolutions must not take minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from metasched.ir.dtype import FLOAT64, DType
from metasched.ir.expr import (
    Buffer,
    Cast,
    Const,
    Expr,
    Load,
    Var,
    cast,
    floordiv,
    floormod,
    int_value,
)
from metasched.ir.simplify import product
from metasched.ir.stmt import Alloc, For, Program, Seq, Stmt, Store, seq
from metasched.ir.walk import (
    free_vars,
    loads,
    map_expr,
    map_stmts,
    stores,
    substitute_stmt,
)
from metasched.lower.buffers import place_buffers
from metasched.lower.flatten import flatten
from metasched.lower.pipeline import Lowered, run_passes
from metasched.lower.scope import Scope

_ENOUGH_ITERATIONS: Final = 64
"""Iterations of the parallel loop beyond which fusing more loops gains nothing."""


@dataclass(frozen=True, slots=True)
class _AnyMachine:
    kind: str = "cpu"
    gpu: None = None
    cores: int = 1
    features: tuple[str, ...] = ()
    vector_bits: int = 64
    vector_registers: int = 16


def plain(program: Program, *, double_accumulation: bool = True) -> Lowered:
    """Lower an unscheduled program without any optimisation.

    Args:
        program: as described, before scheduling.
        double_accumulation: whether reductions of narrower floats accumulate in float64.

    Raises:
        CodegenError: the program cannot be lowered.
    """
    scope = Scope(program, _AnyMachine())
    passes = (_share_outer_loops, place_buffers, flatten)
    widen = (_widen_reductions,) if double_accumulation else ()
    return run_passes(program, scope, (*passes, *widen))


def _widen_reductions(stmt: Stmt, scope: Scope) -> Stmt:
    """Give each location of a narrower float that a reduction updates a float64 variable."""
    if not isinstance(stmt, Seq):
        return map_stmts(stmt, lambda s: _widen_reductions(s, scope))
    parts: list[Stmt] = []
    for part in stmt.stmts:
        parts.append(_widen_nest(part, scope) if isinstance(part, For) else part)
    return seq(*parts)


def _widen_nest(nest: For, scope: Scope) -> Stmt:
    reduced = _reduction_vars(nest)
    places = {
        (s.buffer, s.indices): scope.fresh_register(f"{s.buffer.name}_wide", FLOAT64)
        for s in stores(nest)
        if _is_narrow(s.buffer.dtype) and reduced == _nest_vars(nest) and not _is_shared(s, nest)
    }
    if not places:
        return _widen_reductions(nest, scope)
    before = [Store(w, (), Cast(FLOAT64, Load(b, i))) for (b, i), w in places.items()]
    after = [Store(b, i, Cast(b.dtype, Load(w, ()))) for (b, i), w in places.items()]

    def widen(node: Stmt) -> Stmt:
        if type(node) is Store and (wide := places.get((node.buffer, node.indices))):
            return Store(wide, (), cast(_widen(node.value, places), FLOAT64))
        return map_stmts(node, widen)

    result: Stmt = seq(*before, widen(nest), *after)
    for wide in places.values():
        result = Alloc(wide, result)
    return result


def _is_shared(store: Store, nest: For) -> bool:
    """Whether another store of the nest reads what this one updates, as argmax does."""
    others = (s for s in stores(nest) if s is not store)
    return any(load.buffer == store.buffer for s in others for load in loads(s))


def _widen(expr: Expr, places: dict[tuple[Buffer, tuple[Expr, ...]], Buffer]) -> Expr:
    """The same computation with every narrower float converted to float64 first."""
    match expr:
        case Load():
            wide = places.get((expr.buffer, expr.indices))
            return cast(expr, _wider(expr.dtype)) if wide is None else Load(wide, ())
        case Const():
            return Const(expr.value, _wider(expr.dtype))
        case Cast():
            return cast(_widen(expr.value, places), _wider(expr.dtype))
        case _:
            return map_expr(expr, lambda e: _widen(e, places))


def _wider(dtype: DType) -> DType:
    return FLOAT64 if _is_narrow(dtype) else dtype


def _is_narrow(dtype: DType) -> bool:
    return dtype.is_float and dtype != FLOAT64


def _nest_vars(stmt: Stmt) -> set[Var]:
    found: set[Var] = set()
    while isinstance(stmt, For):
        found.add(stmt.var)
        stmt = stmt.body
    return found


def _reduction_vars(nest: For) -> set[Var]:
    used = {v for s in stores(nest) for i in s.indices for v in free_vars(i)}
    return _nest_vars(nest) - used


def _share_outer_loops(stmt: Stmt, scope: Scope) -> Stmt:
    if isinstance(stmt, Seq):
        return seq(*(_share_outer_loops(s, scope) for s in stmt.stmts))
    loops: list[For] = []
    body = stmt
    while isinstance(body, For) and _indexes_all_stores(body):
        loops.append(body)
        body = body.body
        iterations = int_value(product(loop.extent for loop in loops))
        if iterations is not None and iterations >= _ENOUGH_ITERATIONS:
            break
    if not loops:
        return stmt
    extent = product(loop.extent for loop in loops)
    if len(loops) == 1:
        return replace(loops[0], kind="parallel")
    fused = scope.fresh_var("outer", extent)
    values: dict[Var, Expr] = {}
    rest: Expr = fused
    for loop in reversed(loops[1:]):
        values[loop.var] = floormod(rest, loop.extent)
        rest = floordiv(rest, loop.extent)
    values[loops[0].var] = rest
    return For(fused, extent, substitute_stmt(body, values), "parallel")


def _indexes_all_stores(loop: For) -> bool:
    return all(any(loop.var in free_vars(i) for i in s.indices) for s in stores(loop))
