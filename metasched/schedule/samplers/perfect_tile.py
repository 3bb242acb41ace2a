"""sample_perfect_tile: factors of a loop's extent."""

from __future__ import annotations

from collections.abc import Callable

from metasched.ir.expr import Expr, Var
from metasched.schedule.samplers.sampler import SAMPLERS, Sampler, constant_extent, tile
from metasched.schedule.samplers.site import PerfectTile
from metasched.schedule.state import State
from metasched.trace.instruction import Decision


def sample_perfect_tile(
    state: State, loop: str, n: int, *, max_innermost_factor: int = 16
) -> PerfectTile:
    """Factors of a loop's extent, the last at most ``max_innermost_factor``.

    The factors multiply to the extent exactly; all ways to write it so are equally likely.

    Args:
        state: where to choose.
        loop: the loop whose extent is factored.
        n: how many factors.
        max_innermost_factor: the most that the last factor may be.

    Requires:
        - at least one factor
        - a loop of constant extent
        - a decision that is legal here
    """
    extent = constant_extent(state, loop, n, "sample_perfect_tile")
    return PerfectTile(extent, n, max_innermost_factor)


def _outputs(
    state: State,
    decision: Decision | None,
    symbol: Callable[[int], Var],
    loop: str,
    n: int,
    *,
    max_innermost_factor: int = 16,
) -> tuple[State, tuple[Expr, ...]]:
    return tile(state, decision, symbol, loop, n)


SAMPLERS.register(
    "sample_perfect_tile",
    Sampler("sample_perfect_tile", sample_perfect_tile, _outputs, output="expr", many=True),
)
