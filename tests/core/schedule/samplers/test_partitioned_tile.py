from __future__ import annotations

import numpy as np
import pytest

from metasched.errors import ScheduleError
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref
from tests.core.schedule.programs import check, dynamic, matmul


def loops(**sizes: int) -> tuple[Schedule, tuple[Ref, ...]]:
    sch = Schedule(matmul(**sizes), seed=0)
    return sch, sch.get_loops(sch.get_block("c"))


def test_factors_respect_the_inner_part() -> None:
    sch, (i, _, _) = loops(m=48)
    for _ in range(20):
        parts = sch.sample_partitioned_tile(i, 4, partition_pos=2, innerpart_factor=6)
        factors = [sch.int_of(f) or 0 for f in parts]
        assert np.prod(factors) == 48
        assert np.prod(factors[2:]) % 6 == 0


def test_a_drawn_tile_replays() -> None:
    sch, (i, _, _) = loops(m=48)
    sch.split(i, sch.sample_partitioned_tile(i, 3, partition_pos=1, innerpart_factor=4))
    check(sch)


def test_requires_at_least_one_factor() -> None:
    sch, (i, _, _) = loops()
    with pytest.raises(ScheduleError, match="at least one factor, got n=0"):
        sch.sample_partitioned_tile(i, 0)


def test_requires_a_loop_of_constant_extent() -> None:
    sch = Schedule(dynamic())
    (loop,) = sch.get_loops(sch.get_block("b"))
    with pytest.raises(ScheduleError, match="a loop of constant extent, got n of 'i'"):
        sch.sample_partitioned_tile(loop, 2)


@pytest.mark.parametrize("position", [-1, 4])
def test_requires_a_partition_pos_from_0_to_below_n(position: int) -> None:
    sch, (i, _, _) = loops(m=48)
    with pytest.raises(ScheduleError, match=f"from 0 to below n, got {position} for n=4"):
        sch.sample_partitioned_tile(i, 4, partition_pos=position)


def test_requires_an_innerpart_factor_that_divides_the_extent() -> None:
    sch, (i, _, _) = loops(m=48)
    with pytest.raises(ScheduleError, match="that divides the extent, got 5 for 48"):
        sch.sample_partitioned_tile(i, 4, innerpart_factor=5)


def test_requires_a_decision_that_is_legal_here() -> None:
    sch, (i, _, _) = loops()
    with pytest.raises(ScheduleError, match=r"legal here, got \(3, 3\) for PartitionedTile"):
        sch.sample_partitioned_tile(i, 2, decision=[3, 3])
