from __future__ import annotations

import pytest

from metasched.errors import TraceError
from metasched.schedule.replay import replay
from metasched.schedule.schedule import Schedule
from tests.core.schedule.programs import matmul


def recorded() -> Schedule:
    sch = Schedule(matmul(), seed=0)
    block = sch.get_block("c")
    i, j, _ = sch.get_loops(block)
    sch.sample_perfect_tile(j, 2)
    sch.split(i, sch.sample_perfect_tile(i, 2))
    sch.get_child_blocks(sch.get_block("root"))
    sch.enter_postproc()
    sch.parallel(j)
    return sch


def kinds(sch: Schedule) -> list[str]:
    return [step.kind for step in sch.trace.instructions]


def test_simplified_drops_what_has_no_effect() -> None:
    trace = recorded().trace
    assert [step.kind for step in trace.simplified().instructions] == [
        "get_block", "get_loops", "sample_perfect_tile", "split", "enter_postproc", "parallel",
    ]  # fmt: skip


def test_simplified_keeps_decisions_with_their_steps() -> None:
    sch = recorded()
    short = sch.trace.simplified()
    assert short.decisions == {2: sch.trace.decisions[3]}
    assert replay(short, matmul()).program == sch.program


def test_without_postproc_ends_before_the_mark() -> None:
    trace = recorded().trace.without_postproc()
    assert trace.instructions[-1].kind == "get_child_blocks"
    assert trace.without_postproc() == trace
    assert set(trace.decisions) == {2, 3}


def test_with_decision_leaves_the_trace_as_it_is() -> None:
    trace = recorded().trace
    other = trace.with_decision(3, (1, 8))
    assert other.decisions[3] == (1, 8)
    assert other.decisions[2] == trace.decisions[2]
    assert trace == recorded().trace


@pytest.mark.parametrize(("index", "found"), [(0, "it is get_block"), (99, "there is none")])
def test_with_decision_needs_a_sampling_instruction(index: int, found: str) -> None:
    with pytest.raises(TraceError, match=f"should be a sampling one, but {found}"):
        recorded().trace.with_decision(index, 0)


def test_attrs_are_found_by_name() -> None:
    step = recorded().trace.instructions[2]
    assert step.attr("max_innermost_factor") == 16
    assert step.attr("other") is None
