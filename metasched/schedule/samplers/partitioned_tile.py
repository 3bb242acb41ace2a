"""sample_partitioned_tile: factors of a loop's extent whose inner part is a multiple."""

from __future__ import annotations

from collections.abc import Callable

from metasched.errors import ScheduleError
from metasched.ir.expr import Expr, Var
from metasched.schedule.samplers.sampler import SAMPLERS, Sampler, constant_extent, tile
from metasched.schedule.samplers.site import PartitionedTile
from metasched.schedule.state import State
from metasched.trace.instruction import Decision


def _site(
    state: State, loop: str, n: int, *, partition_pos: int = 0, innerpart_factor: int = 1
) -> PartitionedTile:
    extent = constant_extent(state, loop, n, "sample_partitioned_tile")
    if not 0 <= partition_pos < n:
        raise ScheduleError(
            f"sample_partitioned_tile: expected a partition_pos from 0 to {n - 1}, got "
            f"{partition_pos}"
        )
    if innerpart_factor < 1 or extent % innerpart_factor:
        raise ScheduleError(
            f"sample_partitioned_tile: expected an innerpart_factor that divides the extent "
            f"{extent} of '{loop}', got {innerpart_factor}"
        )
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
    Sampler("sample_partitioned_tile", _site, _outputs, output="expr", many=True),
)
