"""compute_at: a producer under a loop of its consumers."""

from __future__ import annotations

from dataclasses import dataclass

from metasched.analysis.facts import Box, Range
from metasched.ir.expr import Var
from metasched.ir.stmt import Block
from metasched.ir.threads import SHARED, is_thread
from metasched.schedule.primitives.compute_inline import compute_inline
from metasched.schedule.primitives.placement import (
    Move,
    Nest,
    Placed,
    Refusal,
    begin,
    domain_of,
    insertion,
    new_nest,
    relocate,
    unfinished,
)
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.state import State

ROOT = "<root>"
INLINE = "<inline>"


def compute_at(
    state: State,
    block: str,
    loop: str,
    *,
    preserve_unit_loops: bool = False,
    index: int = -1,
) -> tuple[State, tuple[str, ...]]:
    """Compute a producer under a loop of its consumers, as much as one iteration needs.

    A producer of a ``shared`` buffer makes what all threads of a block need.

    Args:
        state: where to apply.
        block: the producer.
        loop: the loop, or a value of ``sample_compute_location``: ``"<root>"`` leaves the block
            where it is and ``"<inline>"`` inlines it.
        preserve_unit_loops: keep loops of extent 1, so that structure does not depend on sizes.
        index: where among the statements in the loop; -1 is the last possible place, right before
            the first consumer, and -2 the first possible one.

    Requires:
        - a loop in the scope of the block
        - a loop that is not around the block
        - a loop that is not vectorized
        - a complete block or a reduction
        - a predicate over the iterations of the block
        - a block whose result is not an output
        - a loop around all consumers of the block
        - an index between the last producer and the first consumer
        - producers that have finished what the block reads

    ::

        for i in serial(64):             ->  for i_0 in serial(8):
            b[i] = f(a[i])                       for ax0 in serial(8):
        for i_0 in serial(8):                        b[i_0 * 8 + ax0] = f(a[i_0 * 8 + ax0])
            for i_1 in serial(8):                for i_1 in serial(8):
                c[...] = g(b[i_0 * 8 + i_1])         c[...] = g(b[i_0 * 8 + i_1])
    """
    if loop == ROOT:
        return state, ()
    if loop == INLINE:
        return compute_inline(state, block)
    plan = _plan(state, block, loop, index, preserve_unit_loops)
    if isinstance(plan, Refusal):
        raise plan.error(state, "compute_at")
    move, nest, position = plan
    return relocate(move, nest, position, "compute_at"), ()


def can_compute_at(state: State, block: str, loop: str) -> str | None:
    """Why `compute_at` would refuse, or None."""
    place = _place(state, block, loop, -1)
    if isinstance(place, Refusal):
        return str(place)
    # What the block needs matters only to producers; without them the answer is known early.
    nest = _finished(place, preserve_unit_loops=True) if place.producers else None
    return str(nest) if isinstance(nest, Refusal) else None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the block goes, and its neighbours in the scope."""

    move: Move
    position: int
    producers: tuple[Block, ...]
    consumers: tuple[Block, ...]


def _plan(
    state: State, block: str, loop: str, index: int, preserve_unit_loops: bool
) -> tuple[Move, Nest, int] | Refusal:
    place = _place(state, block, loop, index)
    if isinstance(place, Refusal):
        return place
    nest = _finished(place, preserve_unit_loops=preserve_unit_loops)
    return nest if isinstance(nest, Refusal) else (place.move, nest, place.position)


def _place(state: State, block: str, loop: str, index: int) -> _Place | Refusal:
    move = begin(state, block, loop, "compute_at")
    if isinstance(move, Refusal):
        return move
    if move.scope.is_output(move.block):
        return Refusal("a block whose result is not an output", f"'{block}'", block)
    consumers, below = move.scope.consumers(move.block), move.below()
    outside = [b.name for b in consumers if b.name not in below]
    if outside or not consumers:
        given = f"'{outside[0]}' outside of '{loop}'" if outside else "no consumer"
        return Refusal("a loop around all consumers of the block", given, loop)
    producers = move.scope.producers(move.block)
    position = insertion(move, producers, consumers, index)
    if isinstance(position, Refusal):
        return position
    return _Place(move, position, producers, consumers)


def _finished(place: _Place, *, preserve_unit_loops: bool) -> Nest | Refusal:
    """The new nest, if all producers have made what it reads."""
    move = place.move
    readers = [Placed.of(move.state, b) for b in place.consumers]
    apart = _apart(move)
    domains = _needed(move, readers, apart)
    nest = new_nest(move, domains, preserve_unit_loops=preserve_unit_loops)
    placed = nest.placed(apart)
    for producer in place.producers:
        if reason := unfinished(move.facts, Placed.of(move.state, producer), placed):
            rule = "producers that have finished what the block reads"
            return Refusal(rule, reason, move.loop.var.name)
    return nest


def _apart(move: Move) -> tuple[Var, ...]:
    """The loops around whose iterations each have a result of their own.

    Threads have a shared buffer in common, so each computes what all of them need; once the new
    loops are bound, they do it together.
    """
    if any(region.buffer.scope not in SHARED for region in move.block.writes):
        return move.chain
    loops = (move.state.loop(var.name) for var in move.chain)
    return tuple(loop.var for loop in loops if not is_thread(loop))


def _needed(move: Move, readers: list[Placed], apart: tuple[Var, ...]) -> dict[Var, Range]:
    """The part of the block's domain that its readers need in one iteration of the loop."""
    domains: list[dict[Var, Range]] = []
    for region in move.block.writes:
        boxes = [
            move.facts.box(used, reader.bindings, _inside(reader, apart))
            for reader in readers
            for used in reader.block.reads
            if used.buffer == region.buffer
        ]
        if boxes:
            domains.append(domain_of(move, region, _hull(move, boxes)))
    joined = domains[0]
    for other in domains[1:]:
        shared = {v: move.facts.join(r, other[v]) for v, r in joined.items() if v in other}
        joined = {v: r for v, r in shared.items() if r is not None}
    return joined


def _inside(reader: Placed, apart: tuple[Var, ...]) -> tuple[Var, ...]:
    return tuple(var for var in reader.loops if var not in apart)


def _hull(move: Move, boxes: list[Box]) -> Box:
    total = boxes[0]
    for box in boxes[1:]:
        total = move.facts.hull(total, box)
    return total


PRIMITIVES.register("compute_at", Primitive("compute_at", compute_at))
