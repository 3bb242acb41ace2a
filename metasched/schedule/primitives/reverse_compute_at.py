"""reverse_compute_at: a consumer under a loop of its producers."""

from __future__ import annotations

from metasched.analysis.region import makes_all
from metasched.ir.stmt import Block, Region
from metasched.schedule.primitives.compute_at import INLINE, ROOT
from metasched.schedule.primitives.placement import (
    Move,
    Nest,
    Placed,
    Refusal,
    begin,
    cut,
    domain_of,
    insertion,
    new_nest,
    relocate,
    unfinished,
)
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.primitives.reverse_compute_inline import reverse_compute_inline
from metasched.schedule.state import State


def reverse_compute_at(
    state: State,
    block: str,
    loop: str,
    *,
    preserve_unit_loops: bool = False,
    index: int = -1,
) -> tuple[State, tuple[str, ...]]:
    """Compute a consumer under a loop of its producers, as much as one iteration has made.

    Args:
        state: where to apply.
        block: the consumer.
        loop: the loop, or ``"<root>"`` or ``"<inline>"`` as in ``compute_at``.
        preserve_unit_loops: keep loops of extent 1, so that structure does not depend on sizes.
        index: where among the statements in the loop; -1 is the last possible place and -2 the
            first, right behind the last producer.

    Requires:
        - a loop in the scope of the block
        - a loop that is not around the block
        - a loop that is not vectorized
        - a complete block or a reduction
        - a predicate over the iterations of the block
        - a loop around a producer of the block
        - a producer that makes all that the block reads
        - an index between the last producer and the first consumer
        - producers that have finished what the block reads
        - consumers for which the block has finished what they read

    ::

        for i_0 in serial(8):            ->  for i_0 in serial(8):
            for i_1 in serial(8):                for i_1 in serial(8):
                b[i_0 * 8 + i_1] = f(...)            b[i_0 * 8 + i_1] = f(...)
        for i in serial(64):                     for ax0 in serial(8):
            c[i] = g(b[i])                           c[...] = g(b[i_0 * 8 + ax0])
    """
    if loop == ROOT:
        return state, ()
    if loop == INLINE:
        return reverse_compute_inline(state, block)
    plan = _plan(state, block, loop, index, preserve_unit_loops)
    if isinstance(plan, Refusal):
        raise plan.error(state, "reverse_compute_at")
    move, nest, position = plan
    return relocate(move, nest, position, "reverse_compute_at"), ()


def can_reverse_compute_at(state: State, block: str, loop: str) -> str | None:
    """Why `reverse_compute_at` would refuse, or None."""
    plan = _plan(state, block, loop, -1, True)
    return str(plan) if isinstance(plan, Refusal) else None


def _plan(
    state: State, block: str, loop: str, index: int, preserve_unit_loops: bool
) -> tuple[Move, Nest, int] | Refusal:
    move = begin(state, block, loop, "reverse_compute_at")
    if isinstance(move, Refusal):
        return move
    producers, consumers = move.scope.producers(move.block), move.scope.consumers(move.block)
    below = move.below()
    inside = [b for b in producers if b.name in below]
    if not inside:
        return Refusal("a loop around a producer of the block", f"'{loop}'", loop)
    position = insertion(move, producers, consumers, index)
    if isinstance(position, Refusal):
        return position
    source = _source(move.block, inside[-1])
    around = state.iters_around(move.block)
    if not makes_all(inside[-1], source[0], move.block, source[1], around):
        given = f"'{inside[-1].name}', which makes only a part"
        return Refusal("a producer that makes all that the block reads", given, loop)
    nest = _made(move, inside[-1], source, preserve_unit_loops)
    placed, limit = nest.placed(move.chain), cut(move, position)
    for producer in producers:
        reason = unfinished(move.facts, Placed.of(state, producer), placed)
        if reason is None and move.scope.blocks.index(producer) >= limit:
            reason = f"'{producer.name}', which comes later"
        if reason is not None:
            return Refusal("producers that have finished what the block reads", reason, loop)
    for consumer in consumers:
        reason = unfinished(move.facts, placed, Placed.of(state, consumer))
        if reason is not None:
            rule = "consumers for which the block has finished what they read"
            return Refusal(rule, f"{reason}, when '{consumer.name}' reads it", loop)
    return move, nest, position


def _source(block: Block, producer: Block) -> tuple[Region, Region]:
    """The first region that a block reads of what a producer writes: as written, as read."""
    return next(
        (made, used)
        for used in block.reads
        for made in producer.writes
        if made.buffer == used.buffer
    )


def _made(
    move: Move, producer: Block, source: tuple[Region, Region], preserve_unit_loops: bool
) -> Nest:
    """Loops over what one producer makes in one iteration of the loop."""
    made, used = source
    placed = Placed.of(move.state, producer)
    box = move.facts.box(made, placed.bindings, placed.inside(move.chain))
    domain = domain_of(move, used, box)
    return new_nest(move, domain, preserve_unit_loops=preserve_unit_loops)


PRIMITIVES.register("reverse_compute_at", Primitive("reverse_compute_at", reverse_compute_at))
