from __future__ import annotations

from typing import Any

import pytest

from metasched.errors import ScheduleError, TraceError
from metasched.schedule.replay import replay
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Instruction, Ref
from metasched.trace.trace import Trace
from tests.core.schedule.programs import copy, matmul

BLOCK, LOOPS = Ref("block", "b0"), tuple(Ref("loop", f"l{k}") for k in (1, 2, 3))


def begun(*steps: Instruction) -> Trace:
    first = Instruction("get_block", ("c",), (), (BLOCK,))
    return Trace((first, Instruction("get_loops", (BLOCK,), (), LOOPS), *steps))


def step(kind: str, *inputs: Any, **attrs: Any) -> Instruction:
    return Instruction(kind, inputs, tuple(sorted(attrs.items())), ())


def tiled() -> Schedule:
    sch = Schedule(matmul(), seed=1)
    i, _, _ = sch.get_loops(sch.get_block("c"))
    sch.split(i, sch.sample_perfect_tile(i, 2))
    return sch


def test_the_choices_of_the_trace_are_taken() -> None:
    sch = tiled()
    assert replay(sch.trace, matmul()).program == sch.program


def test_a_decision_may_be_replaced() -> None:
    trace = tiled().trace
    changed = replay(trace.with_decision(2, (2, 4)), matmul())
    assert "for i_0 in serial(2):" in str(changed.program)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (step("splt", LOOPS[0]), "instruction 2: unknown primitive 'splt'; did you mean 'split'"),
        (step("parallel"), r"instruction 2: parallel takes 1 input \(loop\), got 0 inputs"),
        (step("parallel", *LOOPS), "parallel takes 1 input"),
        (step("parallel", 3), "parallel takes loop as input 0, got 3"),
        (step("fuse", LOOPS[0], 3), "fuse takes a loop or block as input 1, got 3"),
        (step("split", LOOPS[0], 2), "split takes factors as input 1, got 2"),
        (step("split", LOOPS[0], ("2", 4)), r"split takes factors as input 1, got \('2', 4\)"),
        (step("split", LOOPS[0], ((2,), 4)), "split takes factors as input 1"),
        (step("annotate", BLOCK, "key", (None,)), "annotate takes ann_val as input 2"),
        (step("sample_perfect_tile", LOOPS[0], "2"), "takes n as input 1, got '2'"),
        (
            step("split", LOOPS[0], (2, 4), preserve_unit_iter=True),
            "split has no option 'preserve_unit_iter'; did you mean 'preserve_unit_iters'",
        ),
        (
            step("split", LOOPS[0], (2, 4), disable_predication=3),
            "option 'disable_predication' cannot be 3",
        ),
    ],
)
def test_malformed_steps_are_refused(bad: Instruction, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        replay(begun(bad), matmul())


def test_undefined_handles_are_refused() -> None:
    with pytest.raises(ScheduleError, match="handle l9 belongs to another schedule"):
        replay(begun(step("parallel", Ref("loop", "l9"))), matmul())


def test_a_missing_decision_is_named() -> None:
    with pytest.raises(TraceError, match="instruction 2 needs a decision"):
        replay(begun(step("sample_perfect_tile", LOOPS[0], 2)), matmul())


def test_a_trace_of_another_program_is_refused() -> None:
    with pytest.raises(TraceError, match=r"decision \(.*\) is not legal for PerfectTile"):
        replay(tiled().trace, matmul(m=5))
    with pytest.raises(ScheduleError, match="a block of that name, got 'c'"):
        replay(tiled().trace, copy(3))


def test_another_number_of_outputs_is_refused() -> None:
    first = Instruction("get_block", ("c",), (), (BLOCK,))
    loops = Instruction("get_loops", (BLOCK,), (), LOOPS[:2])
    with pytest.raises(TraceError, match="get_loops: expected 2 outputs as in the trace, got 3"):
        replay(Trace((first, loops)), matmul())
