from __future__ import annotations

import pytest

from metasched.errors import ScheduleError
from metasched.schedule.schedule import Schedule
from tests.core.schedule.programs import body, check, copy


def test_around_a_block_and_a_loop() -> None:
    sch = Schedule(copy(3))
    block = sch.get_block("b")
    (loop,) = sch.get_loops(block)
    inner, outer = sch.add_unit_loop(block), sch.add_unit_loop(loop)
    assert [sch.get(r) for r in sch.get_loops(block)] == [sch.get(r) for r in (outer, loop, inner)]
    assert body(sch).startswith(
        "for u_1 in serial(1):\n    for i0 in serial(3):\n        for u in s"
    )
    check(sch)


def test_requires_a_loop_or_a_block_inside_the_root_block() -> None:
    sch = Schedule(copy(3))
    with pytest.raises(ScheduleError, match="a block inside the root block, got the root block"):
        sch.add_unit_loop(sch.get_block("root"))
