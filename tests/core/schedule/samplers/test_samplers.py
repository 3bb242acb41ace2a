from __future__ import annotations

import numpy as np
import pytest

from metasched.errors import ScheduleError
from metasched.schedule.samplers.site import Symbolic
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref
from tests.core.schedule.programs import check, dynamic, matmul, two_stages


def loops(**sizes: int) -> tuple[Schedule, tuple[Ref, ...]]:
    sch = Schedule(matmul(**sizes), seed=0)
    return sch, sch.get_loops(sch.get_block("c"))


def test_categorical_draws_by_its_probabilities() -> None:
    sch = Schedule(matmul(), seed=0)
    drawn = [sch.int_of(sch.sample_categorical([1, 2, 3], [0.0, 0.25, 0.75])) for _ in range(400)]
    assert 1 not in drawn
    assert 60 < drawn.count(2) < 140


def test_categorical_takes_the_index_given() -> None:
    sch = Schedule(matmul())
    assert sch.int_of(sch.sample_categorical([5, 7], [0.5, 0.5], decision=1)) == 7
    with pytest.raises(ScheduleError, match="expected a decision of Categorical"):
        sch.sample_categorical([5, 7], [0.5, 0.5], decision=2)


def test_categorical_may_stay_symbolic() -> None:
    class Undecided:
        def choose(self, index: int, site: object) -> None:
            return None

    sch = Schedule(matmul(), choices=Undecided())
    value = sch.get(sch.sample_categorical([5, 7], [0.5, 0.5]))
    assert str(value) == "t0_0"


@pytest.mark.parametrize(
    ("candidates", "probs", "message"),
    [
        ([], [], "one probability per candidate and at least one"),
        ([1, 2], [1.0], "got 2 candidates and 1 probabilities"),
        ([1, 2], [0.5, 0.6], "probabilities that sum to 1"),
        ([1, 2], [-0.5, 1.5], "probabilities that sum to 1"),
    ],
)
def test_categorical_checks(candidates: list[int], probs: list[float], message: str) -> None:
    with pytest.raises(ScheduleError, match=message):
        Schedule(matmul()).sample_categorical(candidates, probs)


def test_perfect_tile_multiplies_to_the_extent() -> None:
    sch, (i, _, _) = loops(m=48)
    for _ in range(20):
        factors = [sch.int_of(f) for f in sch.sample_perfect_tile(i, 3, max_innermost_factor=8)]
        assert np.prod(factors) == 48
        assert factors[-1] is not None
        assert factors[-1] <= 8


def test_perfect_tile_checks() -> None:
    sch, (i, _, _) = loops()
    with pytest.raises(ScheduleError, match="at least one factor, got n=0"):
        sch.sample_perfect_tile(i, 0)
    with pytest.raises(ScheduleError, match="expected a decision of PerfectTile"):
        sch.sample_perfect_tile(i, 2, decision=[3, 3])
    sch = Schedule(dynamic())
    (loop,) = sch.get_loops(sch.get_block("b"))
    with pytest.raises(ScheduleError, match="a loop of constant extent, got 'i' of extent n"):
        sch.sample_perfect_tile(loop, 2)


def test_symbolic_tiles_are_known_to_multiply() -> None:
    sch = Schedule(matmul(), choices=Symbolic({}))
    i, _, _ = sch.get_loops(sch.get_block("c"))
    sch.split(i, sch.sample_perfect_tile(i, 3))
    assert "where" not in str(sch.program)
    ((factors, extent),) = sch.state.tiles
    assert [str(f) for f in factors] == ["t2_0", "t2_1", "t2_2"]
    assert str(extent) == "8"


def test_partitioned_tile_respects_the_inner_part() -> None:
    sch, (i, _, _) = loops(m=48)
    for _ in range(20):
        parts = sch.sample_partitioned_tile(i, 4, partition_pos=2, innerpart_factor=6)
        factors = [sch.int_of(f) or 0 for f in parts]
        assert np.prod(factors) == 48
        assert np.prod(factors[2:]) % 6 == 0


def test_partitioned_tile_checks() -> None:
    sch, (i, _, _) = loops(m=48)
    with pytest.raises(ScheduleError, match="a partition_pos from 0 to 3, got 4"):
        sch.sample_partitioned_tile(i, 4, partition_pos=4)
    with pytest.raises(ScheduleError, match="divides the extent 48 of 'i', got 5"):
        sch.sample_partitioned_tile(i, 4, innerpart_factor=5)


def located(sch: Schedule, block: str) -> tuple[int, ...]:
    sch.sample_compute_location(sch.get_block(block))
    site = sch.sites[len(sch.trace.instructions) - 1]
    return tuple(site.decisions())  # type: ignore[arg-type]


def test_compute_location_offers_what_compute_at_accepts() -> None:
    sch = Schedule(two_stages())
    assert located(sch, "b") == (-2, -1, 0, 1)
    assert located(sch, "c") == (-1,)


@pytest.mark.parametrize(
    ("decision", "value"), [(-2, "<inline>"), (-1, "<root>"), (0, "c_i"), (1, "c_j")]
)
def test_compute_at_takes_every_location(decision: int, value: str) -> None:
    sch = Schedule(two_stages())
    block = sch.get_block("b")
    location = sch.sample_compute_location(block, decision=decision)
    assert sch.value(location) == value
    sch.compute_at(block, location, preserve_unit_loops=True)
    check(sch)


def test_compute_location_does_not_depend_on_tile_sizes() -> None:
    offers = set[tuple[int, ...]]()
    for decision in ([6, 1], [1, 6], [2, 3]):
        sch = Schedule(two_stages())
        i, _ = sch.get_loops(sch.get_block("c"))
        sch.split(i, sch.sample_perfect_tile(i, 2, decision=decision))
        offers.add(located(sch, "b"))
    sch = Schedule(two_stages(), choices=Symbolic({6: -1}))
    i, _ = sch.get_loops(sch.get_block("c"))
    sch.split(i, sch.sample_perfect_tile(i, 2))
    sch.choices = Symbolic({len(sch.trace.instructions) + 1: -1})
    offers.add(located(sch, "b"))
    assert offers == {(-2, -1, 0, 1, 2)}


def test_compute_location_draws_uniformly() -> None:
    sch = Schedule(two_stages(), seed=0)
    block = sch.get_block("b")
    drawn = [sch.value(sch.sample_compute_location(block)) for _ in range(200)]
    counts = [drawn.count(v) for v in ("<inline>", "<root>", "c_i", "c_j")]
    assert sum(counts) == 200
    assert min(counts) > 30


def test_compute_location_checks() -> None:
    sch = Schedule(two_stages())
    with pytest.raises(ScheduleError, match="a block inside the root block, got the root block"):
        sch.sample_compute_location(sch.get_block("root"))
    with pytest.raises(
        ScheduleError, match=r"ComputeLocation\(locations=\(-2, -1, 0, 1\)\), got 2"
    ):
        sch.sample_compute_location(sch.get_block("b"), decision=2)
