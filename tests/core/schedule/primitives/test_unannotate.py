from __future__ import annotations

import pytest

from metasched.errors import ScheduleError
from metasched.schedule.schedule import Schedule
from tests.core.schedule.programs import body, check, copy, matmul


def test_undoes_annotate() -> None:
    program = matmul()
    sch = Schedule(program)
    block = sch.get_block("c")
    sch.annotate(block, "note", 1)
    sch.unannotate(block, "note")
    assert sch.program == program
    check(sch)


def test_a_note_on_a_loop_goes() -> None:
    sch = Schedule(copy(5))
    (loop,) = sch.get_loops(sch.get_block("b"))
    sch.annotate(loop, "first", 1)
    sch.annotate(loop, "second", 2)
    sch.unannotate(loop, "first")
    assert body(sch).startswith('for i0 in serial(5, {"second": 2}):\n')
    check(sch)


def test_requires_an_annotation_of_that_key() -> None:
    sch = Schedule(matmul())
    block = sch.get_block("c")
    sch.annotate(block, "note", 1)
    with pytest.raises(ScheduleError, match="an annotation of that key, got none of 'nte'"):
        sch.unannotate(block, "nte")
    with pytest.raises(ScheduleError, match=r"hint: its annotations are note$"):
        sch.unannotate(block, "nte")


def test_requires_a_key_that_does_not_say_what_the_regions_of_a_block_leave_out() -> None:
    sch = Schedule(copy(4))
    block = sch.get_block("b")
    sch.unsafe_hide_buffer_access(block, "read", [0])
    rule = "expected a key that does not say what the regions of a block leave out, got 'hidden'"
    with pytest.raises(ScheduleError, match=rule):
        sch.unannotate(block, "hidden")
    check(sch)
