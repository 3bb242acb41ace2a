from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metasched import ops
from metasched.schedule.schedule import Schedule
from metasched.space.postprocs import AbstractPostproc, Rejected, postprocess
from metasched.target import Target
from tests.core.space.outline import TARGET


@dataclass(frozen=True, slots=True)
class SplitFirst(AbstractPostproc):
    name: ClassVar[str] = "split_first"
    factor: int = 2

    def apply(self, schedule: Schedule, target: Target) -> Schedule | Rejected:
        schedule.split(schedule.get_loops(schedule.get_block("o"))[0], (None, self.factor))
        return schedule


@dataclass(frozen=True, slots=True)
class Never(AbstractPostproc):
    name: ClassVar[str] = "never"

    def apply(self, schedule: Schedule, target: Target) -> Schedule | Rejected:
        return Rejected(self.name, "not today")


def test_the_schedule_given_is_left_as_it_was() -> None:
    schedule = Schedule(ops.gelu(m=4, n=4))
    before = schedule.program
    done = postprocess(schedule, (SplitFirst(),), TARGET)
    assert isinstance(done, Schedule)
    assert schedule.program is before
    assert done.program != before


def test_postprocessing_is_marked_in_the_trace() -> None:
    done = postprocess(Schedule(ops.gelu(m=4, n=4)), (SplitFirst(),), TARGET)
    assert isinstance(done, Schedule)
    assert done.trace.instructions[0].kind == "enter_postproc"
    assert not done.trace.without_postproc().instructions


def test_a_rejection_ends_it() -> None:
    done = postprocess(Schedule(ops.gelu(m=4, n=4)), (Never(), SplitFirst()), TARGET)
    assert done == Rejected("never", "not today")


def test_a_refused_primitive_rejects_with_one_line() -> None:
    done = postprocess(Schedule(ops.gelu(m=4, n=4)), (SplitFirst(0),), TARGET)
    assert isinstance(done, Rejected)
    assert done.postproc == "split_first"
    assert "at least 1" in done.reason
    assert "\n" not in done.reason
