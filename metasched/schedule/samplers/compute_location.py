"""sample_compute_location: where a block may be computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from metasched.analysis.dependence import Scope
from metasched.errors import ScheduleError
from metasched.ir.expr import Var
from metasched.ir.stmt import Block, For
from metasched.schedule.primitives.compute_at import INLINE, ROOT, can_compute_at
from metasched.schedule.primitives.compute_inline import can_compute_inline
from metasched.schedule.refusal import refused
from metasched.schedule.samplers.sampler import SAMPLERS, Sampler, decided
from metasched.schedule.samplers.site import ComputeLocation
from metasched.schedule.state import State
from metasched.trace.instruction import Decision

_INLINED: Final = -2
_AS_IT_IS: Final = -1


def sample_compute_location(state: State, block: str) -> ComputeLocation:
    """Where a block may be computed: a loop, or that it is inlined (-2) or stays (-1).

    The output is a handle that `compute_at` takes; every legal place is equally likely.

    Args:
        state: where to choose.
        block: the block.

    Requires:
        - a block inside the root block
        - a decision that is legal here
    """
    target = state.block(block, "sample_compute_location")
    if target is state.program.root:
        raise refused(
            state, "sample_compute_location", "a block inside the root block", "the root block",
            at=block, hint="take one of its get_child_blocks",
        )  # fmt: skip
    loops = tuple(loop.var.name for loop in _common_loops(state, target))

    def is_legal(location: int) -> bool:
        if location == _INLINED:
            return can_compute_inline(state, block) is None
        return location == _AS_IT_IS or can_compute_at(state, block, loops[location]) is None

    return ComputeLocation(len(loops), is_legal)


def _common_loops(state: State, block: Block) -> tuple[For, ...]:
    """The loops that all consumers of a block share, outermost first; none without a consumer."""
    consumers = Scope.of(state.scope(block)).consumers(block)
    if not consumers:
        return ()
    nests = [state.loops_above(consumer) for consumer in consumers]
    shared: list[For] = []
    for level in zip(*nests, strict=False):
        if any(loop is not level[0] for loop in level):
            break
        shared.append(level[0])
    return tuple(shared)


def _outputs(
    state: State, decision: Decision | None, symbol: Callable[[int], Var], block: str
) -> tuple[State, tuple[str, ...]]:
    if decision is None:
        raise ScheduleError("sample_compute_location: expected a decision, got a symbol")
    index = decided(decision)[0]
    if index < 0:
        return state, (INLINE if index == _INLINED else ROOT,)
    loops = _common_loops(state, state.block(block, "sample_compute_location"))
    return state, (loops[index].var.name,)


SAMPLERS.register(
    "sample_compute_location",
    Sampler("sample_compute_location", sample_compute_location, _outputs, output="loop"),
)
