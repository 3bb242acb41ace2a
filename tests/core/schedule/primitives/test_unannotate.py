from __future__ import annotations

import pytest

from metasched.errors import ScheduleError
from metasched.schedule.schedule import Schedule
from tests.core.schedule.programs import check, matmul


def test_undoes_annotate() -> None:
    program = matmul()
    sch = Schedule(program)
    block = sch.get_block("c")
    sch.annotate(block, "note", 1)
    sch.unannotate(block, "note")
    assert sch.program == program
    check(sch)


def test_requires_an_annotation_of_that_key() -> None:
    sch = Schedule(matmul())
    block = sch.get_block("c")
    sch.annotate(block, "note", 1)
    with pytest.raises(
        ScheduleError, match=r"an annotation 'nte', got none; did you mean 'note'\?"
    ):
        sch.unannotate(block, "nte")
