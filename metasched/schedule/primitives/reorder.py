"""reorder: the loops of a chain in another order."""

from __future__ import annotations

from metasched.analysis.dependence import direct_blocks, driven, reduces_in_order
from metasched.ir.expr import Var
from metasched.ir.stmt import Block, For, Stmt
from metasched.ir.walk import free_vars
from metasched.schedule.primitives.loop_nest import is_unit, why_not_orderless
from metasched.schedule.primitives.placement import check_threads, facts
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive, refused
from metasched.schedule.state import State, with_body


def reorder(state: State, *ordered_loops: str) -> tuple[State, tuple[str, ...]]:
    """Put loops of one chain into the given order, outermost first.

    The loops take each other's places; loops of the chain that are not listed stay where they are.
    A reduction starts anew where all its reduce iterations are zero. That comes first in every
    order, but a reduction that is computed again and again must not be taken apart. Loops that are
    bound to threads must still go together as `bind` requires.

    Args:
        state: where to apply.
        ordered_loops: the loops in their new order.

    Requires:
        - at least one loop and none twice
        - loops of one chain
        - each loop of the chain to hold nothing but the next
        - extents that do not depend on loops further inside
        - no block with opaque iterations below
        - reduce loops in their order where a reduction depends on it
        - no reduction repeated inside its reduce loops

    ::

        for i in serial(4):          ->  for j in serial(8):
            for j in serial(8):              for i in serial(4):
    """
    if not ordered_loops or len(set(ordered_loops)) < len(ordered_loops):
        raise refused(
            state, "reorder", "at least one loop and none twice", str(list(ordered_loops)), at=None,
            hint="give loops from get_loops in their new order",
        )  # fmt: skip
    wanted = [state.loop(name, "reorder") for name in ordered_loops]
    chain = _chain(state, wanted)
    listed = iter(wanted)
    order = [next(listed) if loop in wanted else loop for loop in chain]
    _check(state, chain, order)
    body: Stmt = chain[-1].body
    for loop in reversed(order):
        body = with_body(loop, body)
    new = state.replace(chain[0], body)
    check_threads(state, new, "reorder")
    return new, ()


def _chain(state: State, wanted: list[For]) -> list[For]:
    """The loops from the outermost to the innermost of the listed ones."""
    innermost = max(wanted, key=lambda loop: len(state.ancestors(loop)))
    above: list[Stmt] = []
    for node in state.ancestors(innermost):
        above = [] if isinstance(node, Block) else [*above, node]
    above.append(innermost)
    for loop in wanted:
        if loop not in above:
            raise refused(
                state, "reorder", "loops of one chain",
                f"'{loop.var.name}', which is not around '{innermost.var.name}'", at=loop.var.name,
                hint="reorder each nest by itself",
            )  # fmt: skip
    first = min(above.index(loop) for loop in wanted)
    chain: list[For] = []
    for node in above[first:]:
        if not isinstance(node, For):
            name = chain[-1].var.name
            raise refused(
                state, "reorder", "each loop of the chain to hold nothing but the next",
                f"'{name}', which holds other statements too", at=name,
                hint="reorder before blocks are computed at the loop, or leave it out",
            )  # fmt: skip
        chain.append(node)
    return chain


def _check(state: State, chain: list[For], order: list[For]) -> None:
    for position, loop in enumerate(order):
        inner = {after.var for after in order[position + 1 :]}
        if free_vars(loop.extent) & inner:
            raise refused(
                state, "reorder", "extents that do not depend on loops further inside",
                f"{loop.extent} of '{loop.var.name}'", at=loop.var.name,
                hint="keep the loop inside those that its extent depends on",
            )  # fmt: skip
    if given := why_not_orderless(chain[0]):
        raise refused(
            state, "reorder", "no block with opaque iterations below", given, at=chain[0].var.name,
            hint="opaque iterations stay in their order; reorder loops around the block only",
        )  # fmt: skip
    for block in direct_blocks(chain[-1].body):
        if reduces_in_order(block) and _reducing(block, chain) != _reducing(block, order):
            raise refused(
                state, "reorder", "reduce loops in their order where a reduction depends on it",
                f"'{block.name}', which treats its last step apart", at=block.name,
                hint="reorder before fuse_reduction_epilogue",
            )  # fmt: skip
        if block.init is not None and not _runs_once(state, block, chain, order):
            raise refused(
                state, "reorder", "no reduction repeated inside its reduce loops",
                f"'{block.name}', which runs several times per element", at=block.name,
                hint="keep its reduce loops inside the loops that repeat it",
            )  # fmt: skip


def _reducing(block: Block, loops: list[For]) -> list[Var]:
    """The loops among some that drive reduce iterations of a block."""
    reducing = driven(block.iters, "reduce")
    return [loop.var for loop in loops if loop.var in reducing and not is_unit(loop)]


def _runs_once(state: State, block: Block, chain: list[For], order: list[For]) -> bool:
    """Whether the loops inside the first reduce loop do not repeat iterations of a reduction."""
    reducing = driven(block.iters, "reduce")

    def inside(loops: list[For]) -> list[For]:
        first = (k for k, loop in enumerate(loops) if loop.var in reducing and not is_unit(loop))
        return loops[next(first, len(loops)) :]

    after = inside(order)
    if set(after) <= set(inside(chain)):
        return True
    around = state.loops_above(block)
    below = around[around.index(chain[-1]) + 1 :]
    bindings = [it.binding for it in block.iters]
    return facts(state).is_one_to_one(bindings, [loop.var for loop in (*after, *below)])


PRIMITIVES.register("reorder", Primitive("reorder", reorder))
