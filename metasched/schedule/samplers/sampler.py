"""What a sampling primitive is, and the registry of all of them. Read `perfect_tile.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from metasched.ir.expr import Expr, Var, const, int_value
from metasched.registry import Registry
from metasched.schedule.refusal import refused
from metasched.schedule.samplers.site import AbstractSite
from metasched.schedule.state import State
from metasched.trace.instruction import Decision, RefKind


@dataclass(frozen=True, slots=True)
class Sampler:
    """A sampling primitive: a site on a state, and what a decision means there.

    Args:
        name: name in traces and of the `Schedule` method.
        site: ``(state, *inputs, **attrs) -> site``; it checks its inputs.
        outputs: ``(state, decision, symbol, *inputs, **attrs) -> (state, values)``; the decision
            is None where the choice stays symbolic, and ``symbol`` yields variables for it.
        output: what the outputs are handles to.
        many: whether the method returns a tuple of handles.
    """

    name: str
    site: Callable[..., AbstractSite]
    outputs: Callable[..., tuple[State, tuple[Expr | str, ...]]]
    output: RefKind
    many: bool = False


SAMPLERS = Registry[Sampler]("sampling primitive")


def decided(decision: Decision) -> tuple[int, ...]:
    """A decision as a tuple of ints."""
    return decision if isinstance(decision, tuple) else (decision,)


def constant_extent(state: State, loop: str, n: int, sampler: str) -> int:
    """The extent of a loop that is to be tiled by ``n`` factors.

    Raises:
        ScheduleError: it is symbolic, or there are no factors.
    """
    if n < 1:
        raise refused(
            state, sampler, "at least one factor", f"n={n}", at=loop,
            hint="n is the number of loops to split into",
        )  # fmt: skip
    extent = state.loop(loop, sampler).extent
    value = int_value(extent)
    if value is None:
        raise refused(
            state, sampler, "a loop of constant extent", f"{extent} of '{loop}'", at=loop,
            hint="split it by constants first",
        )  # fmt: skip
    return value


def tile(
    state: State, decision: Decision | None, symbol: Callable[[int], Var], loop: str, n: int
) -> tuple[State, tuple[Expr, ...]]:
    """The factors of a decision, or ``n`` symbols known to multiply to the extent."""
    if decision is not None:
        return state, tuple(const(f) for f in decided(decision))
    factors: tuple[Expr, ...] = tuple(symbol(k) for k in range(n))
    return replace(state, tiles=(*state.tiles, (factors, state.loop(loop).extent))), factors
