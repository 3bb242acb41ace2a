from __future__ import annotations

import pytest

from metasched.errors import ScheduleError
from metasched.ir.stmt import AnnotationValue, Block, annotation
from metasched.schedule.samplers.site import Symbolic
from metasched.schedule.schedule import Schedule
from tests.core.schedule.programs import body, check, matmul


@pytest.mark.parametrize("value", [3, 0.5, "text", (1, 2), ("a", "b"), (), (("a", 1), (0.5, (2,)))])
def test_block_and_loop(value: AnnotationValue) -> None:
    sch = Schedule(matmul())
    block = sch.get_block("c")
    for target in (block, sch.get_loops(block)[0], sch.get_block("root")):
        sch.annotate(target, "note", value)
        found = sch.get(target)
        assert annotation(found.annotations, "note") == value  # type: ignore[union-attr]
    check(sch)


def test_a_sampled_value() -> None:
    sch = Schedule(matmul())
    sch.annotate(sch.get_block("c"), "depth", sch.sample_categorical([0, 16], [0.5, 0.5], 1))
    assert 'annotations({"depth": 16})' in body(sch)
    check(sch)


def test_lists_and_dictionaries_become_tuples() -> None:
    sch = Schedule(matmul())
    depth = sch.sample_categorical([0, 16], [0.5, 0.5], 1)
    sch.annotate(sch.get_block("c"), "note", {"stages": [0, 0, depth], "async": [0]})
    assert 'annotations({"note": (("stages", (0, 0, 16)), ("async", (0,)))})' in body(sch)
    check(sch)


def test_a_symbolic_value_is_kept_for_the_cost_model() -> None:
    sch = Schedule(matmul(), choices=Symbolic({}))
    block = sch.get_block("c")
    i, _, _ = sch.get_loops(block)
    sch.annotate(block, "width", sch.sample_perfect_tile(i, 2)[1])
    found = sch.get(block)
    assert isinstance(found, Block)
    assert str(annotation(found.annotations, "width")) == "t2_1"


def test_requires_no_annotation_of_that_key() -> None:
    sch = Schedule(matmul())
    block = sch.get_block("c")
    sch.annotate(block, "note", 1)
    with pytest.raises(ScheduleError, match="no annotation of that key, got 'note' of value 1"):
        sch.annotate(block, "note", 2)
