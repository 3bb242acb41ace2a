from __future__ import annotations

import pytest

from metasched.errors import ScheduleError
from metasched.schedule.schedule import Schedule
from tests.core.schedule.programs import body, check, dynamic, matmul


def test_any_serial_loop() -> None:
    sch = Schedule(matmul())
    for loop in sch.get_loops(sch.get_block("c")):
        sch.unroll(loop)
    assert "for k in unrolled(4):" in body(sch)
    check(sch)


def test_requires_a_serial_loop() -> None:
    sch = Schedule(matmul())
    loop = sch.get_loops(sch.get_block("c"))[0]
    sch.parallel(loop)
    with pytest.raises(ScheduleError, match="a serial loop, got 'i', which is parallel"):
        sch.unroll(loop)


def test_requires_a_constant_extent() -> None:
    sch = Schedule(dynamic())
    (loop,) = sch.get_loops(sch.get_block("b"))
    with pytest.raises(ScheduleError, match="a constant extent, got the extent n"):
        sch.unroll(loop)
