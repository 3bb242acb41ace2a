"""sample_perfect_tile: factors of a loop's extent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from metasched.errors import ScheduleError
from metasched.ir.expr import Expr, Var, const, int_value
from metasched.schedule.samplers.sampler import SAMPLERS, Sampler, decided
from metasched.schedule.samplers.site import PerfectTile
from metasched.schedule.state import State
from metasched.trace.instruction import Decision


def _site(state: State, loop: str, *, n: int, max_innermost_factor: int = 16) -> PerfectTile:
    extent = int_value(state.loop(loop, "sample_perfect_tile").extent)
    if extent is None:
        raise ScheduleError(
            f"sample_perfect_tile: expected a loop of constant extent, got '{loop}' of extent "
            f"{state.loop(loop).extent}; split it by constants first"
        )
    return PerfectTile(extent, n, max_innermost_factor)


def _outputs(
    state: State,
    decision: Decision | None,
    symbol: Callable[[int], Var],
    loop: str,
    *,
    n: int,
    max_innermost_factor: int = 16,
) -> tuple[State, tuple[Expr, ...]]:
    if decision is not None:
        return state, tuple(const(f) for f in decided(decision))
    factors: tuple[Expr, ...] = tuple(symbol(k) for k in range(n))
    known = (*state.tiles, (factors, state.loop(loop).extent))
    return replace(state, tiles=known), factors


SAMPLERS.register(
    "sample_perfect_tile",
    Sampler("sample_perfect_tile", _site, _outputs, output="expr", many=True),
)
