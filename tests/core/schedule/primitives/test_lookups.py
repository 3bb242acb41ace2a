"""get_block, get_loops, get_child_blocks, get_producers, get_consumers, get_output_blocks."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from metasched.errors import ScheduleError
from metasched.ir.stmt import Block
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref
from tests.core.schedule.programs import check, matmul, two_stages


def names(sch: Schedule, refs: Iterable[Ref]) -> list[str]:
    return [str(sch.value(ref)) for ref in refs]


def test_block_by_name() -> None:
    sch = Schedule(two_stages())
    found = sch.get(sch.get_block("c"))
    assert isinstance(found, Block)
    assert found.name == "c"


def test_requires_a_block_of_that_name() -> None:
    sch = Schedule(two_stages())
    with pytest.raises(ScheduleError, match="get_block: expected a block of that name, got 'd'"):
        sch.get_block("d")
    with pytest.raises(ScheduleError, match="hint: the blocks are b, c, root"):
        sch.get_block("d")
    sch.compute_inline(sch.get_block("b"))
    with pytest.raises(ScheduleError, match="hint: compute_inline removed it"):
        sch.get_block("b")


def test_loops_outermost_first() -> None:
    sch = Schedule(matmul())
    assert names(sch, sch.get_loops(sch.get_block("c"))) == ["i", "j", "k"]
    assert sch.get_loops(sch.get_block("root")) == ()


def test_child_blocks() -> None:
    sch = Schedule(two_stages())
    assert names(sch, sch.get_child_blocks(sch.get_block("root"))) == ["b", "c"]
    (loop, _) = sch.get_loops(sch.get_block("c"))
    assert names(sch, sch.get_child_blocks(loop)) == ["c"]
    assert sch.get_child_blocks(sch.get_block("c")) == ()


def test_producers_and_consumers() -> None:
    sch = Schedule(two_stages())
    first, second = sch.get_block("b"), sch.get_block("c")
    assert names(sch, sch.get_producers(second)) == ["b"]
    assert names(sch, sch.get_consumers(first)) == ["c"]
    assert sch.get_producers(first) == sch.get_consumers(second) == ()
    assert sch.get_producers(sch.get_block("root")) == ()


def test_output_blocks() -> None:
    sch = Schedule(two_stages())
    assert names(sch, sch.get_output_blocks(sch.get_block("root"))) == ["c"]


def test_lookups_are_traced_and_dropped_when_simplified() -> None:
    sch = Schedule(two_stages())
    sch.get_loops(sch.get_block("c"))
    assert len(sch.trace.instructions) == 2
    assert sch.trace.simplified().instructions == ()
    check(sch)


def test_postprocessing_is_a_mark_in_the_trace() -> None:
    sch = Schedule(two_stages())
    (loop, _) = sch.get_loops(sch.get_block("c"))
    sch.enter_postproc()
    sch.parallel(loop)
    assert [step.kind for step in sch.trace.instructions][-2:] == ["enter_postproc", "parallel"]
    assert len(sch.trace.without_postproc().instructions) == 2
    check(sch)
