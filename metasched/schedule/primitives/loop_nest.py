"""What the loop primitives ask about a nest before they change it.

Every question has an answer of one kind: None when all is well, else what was found instead, as
`refused` wants it. The answers depend on structure, so symbolic extents do not matter.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from metasched.analysis.dependence import Scope, direct_blocks, driven
from metasched.ir.expr import Binary, Const, Expr, Var, int_value
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, For
from metasched.ir.walk import free_vars
from metasched.schedule.primitives.placement import facts
from metasched.schedule.state import State, loops_under


def is_unit(loop: For) -> bool:
    """Whether a loop runs exactly once."""
    return int_value(loop.extent) == 1


def why_not_serial(loop: For) -> str | None:
    """Why a loop is not serial."""
    return None if loop.kind == "serial" else f"'{loop.var.name}', which is {loop.kind}"


def why_not_plain(loop: For) -> str | None:
    """Why a loop is not serial and free of annotations."""
    if loop.annotations:
        return f"'{loop.var.name}', which is annotated with '{loop.annotations[0][0]}'"
    return why_not_serial(loop)


def why_not_constant(state: State, loop: For) -> str | None:
    """Why the extent of a loop is not fixed by the schedule: it holds a size of the program.

    Tile factors that are still symbols are fine, since decisions will replace them.
    """
    if int_value(loop.extent) is not None:
        return None
    tiles = {v for factors, _ in state.tiles for f in factors for v in free_vars(f)}
    unknown = sorted(v.name for v in free_vars(loop.extent) - tiles)
    return f"the extent {loop.extent}, which depends on '{unknown[0]}'" if unknown else None


def why_not_orderless(loop: For) -> str | None:
    """Why the order of iterations under a loop matters."""
    for block in direct_blocks(loop.body):
        for it in block.iters:
            if it.kind == "opaque":
                return f"block '{block.name}', whose iteration '{it.var.name}' is opaque"
    return None


def why_not_affine(state: State, loop: For) -> str | None:
    """Why a binding that uses a loop is not a sum of multiples, quotients and remainders."""
    loops = {other.var for other in state.tree.loops.values()}
    for block in direct_blocks(loop.body):
        for it in block.iters:
            if loop.var in free_vars(it.binding) and not _is_affine(it.binding, loops):
                return f"{it.binding}, to which block '{block.name}' binds '{it.var.name}'"
    return None


def _is_affine(expr: Expr, loops: Collection[Var]) -> bool:
    match expr:
        case Var() | Const():
            return True
        case Binary(op="add" | "sub", a=a, b=b):
            return _is_affine(a, loops) and _is_affine(b, loops)
        case Binary(op="mul", a=a, b=b):
            fixed = free_vars(a).isdisjoint(loops) or free_vars(b).isdisjoint(loops)
            return fixed and _is_affine(a, loops) and _is_affine(b, loops)
        case Binary(op="floordiv" | "floormod", a=a, b=b):
            return free_vars(b).isdisjoint(loops) and _is_affine(a, loops)
        case _:
            return free_vars(expr).isdisjoint(loops)


def why_not_independent(state: State, loop: For, *, across: bool = False) -> str | None:
    """Why the iterations of a loop cannot run at the same time.

    Each block inside may use the loop for spatial iterations only. Where its result is known
    outside of the loop, the iterations must write different elements, or, unless the block
    accumulates, the same values.

    Args:
        state: where the loop is.
        loop: the loop.
        across: whether iterations that together reduce to one result will do too.
    """
    if is_unit(loop):
        return None
    for block in direct_blocks(loop.body):
        kinds = {it.kind: it for it in block.iters if loop.var in free_vars(it.binding)}
        if across and [*kinds] == ["reduce"]:
            if given := Scope.of(state.scope(loop)).why_not_reduction(block):
                return given
            continue
        if wrong := kinds.get("reduce") or kinds.get("opaque"):
            return (
                f"block '{block.name}', whose {wrong.kind} iteration '{wrong.var.name}' it drives"
            )
        again = not kinds or (reduces(block) and not _writes_once(state, loop, block))
        shared = _shared_result(state, loop, block) if again else None
        if shared is not None:
            return f"block '{block.name}', which writes parts of '{shared}' in several iterations"
    return None


def reduces(block: Block) -> bool:
    """Whether a block accumulates over a reduce iteration."""
    return any(it.kind == "reduce" for it in block.iters)


def _writes_once(state: State, loop: For, block: Block) -> bool:
    """Whether different iterations of a loop have different spatial iterations of a block."""
    around = state.loops_above(block)
    inner = around[around.index(loop) :]
    driving = driven(block.iters, "spatial")
    bindings = [it.binding for it in block.iters if it.kind == "spatial"]
    loops = [x.var for x in inner if x is loop or x.var in driving]
    return facts(state).is_one_to_one(bindings, loops)


def _shared_result(state: State, loop: For, block: Block) -> str | None:
    """A buffer that a block under a loop writes and that is known outside of the loop."""
    inside = {b.name for b in direct_blocks(loop.body)}
    for region in block.writes:
        if region.buffer in state.program.params:
            return region.buffer.name
        for other in direct_blocks(state.scope(loop).body):
            touched = (r.buffer for r in (*other.reads, *other.writes))
            if other.name not in inside and region.buffer in touched:
                return region.buffer.name
    return None


def simplifier_under(
    state: State, loop: For, new: Mapping[Var, Expr], *, keep_units: bool
) -> Simplifier:
    """A simplifier for what is under a loop that gives way to ``new`` loops.

    With ``keep_units``, loops of extent 1 stay in the bindings, so that the structure does not
    depend on tile sizes.
    """
    known = state.simplifier(loop, keep_units=keep_units)
    for var, extent in new.items():
        known.bind(var, extent)
    for inner in loops_under(loop.body):
        known.bind(inner.var, inner.extent)
    return known
