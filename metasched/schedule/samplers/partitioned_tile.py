"""sample_partitioned_tile: factors of a loop's extent whose inner part is a multiple."""

from __future__ import annotations

from collections.abc import Callable

from metasched.ir.expr import Expr, Var
from metasched.schedule.refusal import refused
from metasched.schedule.samplers.sampler import SAMPLERS, Sampler, constant_extent, tile
from metasched.schedule.samplers.site import PartitionedTile
from metasched.schedule.state import State
from metasched.trace.instruction import Decision


def sample_partitioned_tile(
    state: State, loop: str, n: int, *, partition_pos: int = 0, innerpart_factor: int = 1
) -> PartitionedTile:
    """Factors of a loop's extent; those from ``partition_pos`` on multiply to a multiple.

    The factors multiply to the extent exactly; all ways to write it so are equally likely.

    Args:
        state: where to choose.
        loop: the loop whose extent is factored.
        n: how many factors.
        partition_pos: the first factor of the inner part.
        innerpart_factor: what the product of the inner part is a multiple of.

    Requires:
        - at least one factor
        - a loop of constant extent
        - a partition_pos from 0 to below n
        - an innerpart_factor that divides the extent
        - a decision that is legal here
    """
    extent = constant_extent(state, loop, n, "sample_partitioned_tile")
    if not 0 <= partition_pos < n:
        raise refused(
            state, "sample_partitioned_tile", "a partition_pos from 0 to below n",
            f"{partition_pos} for n={n}", at=loop, hint="it counts the factors of the outer part",
        )  # fmt: skip
    if innerpart_factor < 1 or extent % innerpart_factor:
        raise refused(
            state, "sample_partitioned_tile", "an innerpart_factor that divides the extent",
            f"{innerpart_factor} for {extent}", at=loop,
            hint="split the loop by the factor first and sample the tile of the outer part",
        )  # fmt: skip
    return PartitionedTile(extent, n, partition_pos, innerpart_factor)


def _outputs(
    state: State,
    decision: Decision | None,
    symbol: Callable[[int], Var],
    loop: str,
    n: int,
    *,
    partition_pos: int = 0,
    innerpart_factor: int = 1,
) -> tuple[State, tuple[Expr, ...]]:
    return tile(state, decision, symbol, loop, n)


SAMPLERS.register(
    "sample_partitioned_tile",
    Sampler("sample_partitioned_tile", sample_partitioned_tile, _outputs, output="expr", many=True),
)
