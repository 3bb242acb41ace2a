from __future__ import annotations

from metasched import ops
from metasched.analysis.nest import summarise
from metasched.schedule.schedule import Schedule


def test_blocks_inside_blocks_touch_what_they_touched_before() -> None:
    schedule = Schedule(ops.matmul(m=8, n=12, k=16))
    split = [schedule.split(x, [None, 4]) for x in schedule.get_loops(schedule.get_block("c"))]
    schedule.reorder(*(outer for outer, _ in split), *(inner for _, inner in split))
    (before,) = summarise(schedule.program).stores
    schedule.blockize(split[0][1])
    (after,) = summarise(schedule.program).stores
    assert after == before
