from __future__ import annotations

import pytest

from metasched.errors import ScheduleError
from metasched.schedule.samplers.site import Symbolic
from metasched.schedule.schedule import Schedule
from tests.core.schedule.programs import check, two_stages


def located(sch: Schedule, block: str) -> tuple[int, ...]:
    sch.sample_compute_location(sch.get_block(block))
    site = sch.sites[len(sch.trace.instructions) - 1]
    return tuple(site.decisions())  # type: ignore[arg-type]


def test_it_offers_what_compute_at_accepts() -> None:
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


def test_it_does_not_depend_on_tile_sizes() -> None:
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


def test_it_draws_uniformly() -> None:
    sch = Schedule(two_stages(), seed=0)
    block = sch.get_block("b")
    drawn = [sch.value(sch.sample_compute_location(block)) for _ in range(200)]
    counts = [drawn.count(v) for v in ("<inline>", "<root>", "c_i", "c_j")]
    assert sum(counts) == 200
    assert min(counts) > 30


def test_requires_a_block_inside_the_root_block() -> None:
    sch = Schedule(two_stages())
    with pytest.raises(ScheduleError, match="a block inside the root block, got the root block"):
        sch.sample_compute_location(sch.get_block("root"))


def test_requires_a_decision_that_is_legal_here() -> None:
    sch = Schedule(two_stages())
    with pytest.raises(ScheduleError, match=r"got 2 for .*locations=\(-2, -1, 0, 1\)"):
        sch.sample_compute_location(sch.get_block("b"), decision=2)
