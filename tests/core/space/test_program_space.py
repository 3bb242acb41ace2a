from __future__ import annotations

import pytest

from metasched import ops
from metasched.errors import TraceError, UsageError
from metasched.ir.hash import structural_hash
from metasched.schedule.replay import replay
from metasched.schedule.schedule import Schedule
from metasched.space.counting import count
from metasched.space.program_space import ProgramSpace
from metasched.space.space import Space
from metasched.space.walking import leaves
from metasched.testing import suite
from metasched.trace.trace import Trace
from tests.core.space.outline import TARGET

PROGRAM = ops.matmul(m=4, n=6, k=2)


def split_rows(schedule: Schedule) -> None:
    i, *_ = schedule.get_loops(schedule.get_block("c"))
    schedule.split(i, schedule.sample_perfect_tile(i, 2))
    note = schedule.sample_categorical([1, 2], [0.5, 0.5])
    schedule.annotate(schedule.get_block("root"), "note", note)


def bound(space: Space | None = None) -> ProgramSpace:
    return (space or Space.from_function(split_rows)).on(PROGRAM, TARGET)


def test_all_candidates_are_counted_and_listed() -> None:
    space = bound()
    # 4 = 1*4 = 2*2 = 4*1, each with two notes.
    traces = list(space.enumerate())
    assert space.count().exact
    assert space.count().value == len(traces) == 6
    assert len({tuple(sorted(t.decisions.items())) for t in traces}) == 6
    assert all(trace in space for trace in traces)


def test_the_default_space_is_counted_by_structure() -> None:
    small = Space.default().on(suite.small("CBR"), TARGET)
    for sketch in small.sketches:
        by_leaf = sum(leaf.size for leaf in leaves(sketch.trace, small.program))
        assert count(sketch.trace, small.program).value == by_leaf


def test_a_space_of_many_structures_is_estimated_with_its_error() -> None:
    small = Space.default().on(suite.small("CBR"), TARGET)
    sketch = max(small.sketches, key=lambda s: len(list(leaves(s.trace, small.program))))
    exact = count(sketch.trace, small.program, most=10_000)
    assert exact.exact
    estimate = count(
        sketch.trace, small.program, most=len(list(leaves(sketch.trace, small.program))) - 1
    )
    assert abs(estimate.value - exact.value) <= 4 * estimate.error + 1e-6


def test_too_many_candidates_are_not_listed() -> None:
    with pytest.raises(UsageError, match="holds 6 candidates of 'matmul', too many to list"):
        next(bound().enumerate(most=5))


def test_samples_are_distinct_finished_and_a_function_of_the_seed() -> None:
    space = Space.default().on(PROGRAM, TARGET)
    one, again, other = (space.sample(5, seed=seed) for seed in (1, 1, 2))
    assert [s.trace for s in one] == [s.trace for s in again] != [s.trace for s in other]
    assert len({s.trace.to_json() for s in one}) == 5
    assert all("enter_postproc" in [i.kind for i in s.trace.instructions] for s in one)
    assert all(s in space for s in one)
    assert len(bound().sample(100)) == 6


def test_a_trace_of_the_space_is_found_with_its_sketch() -> None:
    space = Space.default().on(PROGRAM, TARGET)
    done = space.attempt(2, seed=3)
    assert isinstance(done, Schedule)
    assert space.find(done).sketch == 2
    assert space.find(done.trace.to_json()).sketch == 2


def test_a_foreign_trace_is_refused_with_the_reason() -> None:
    space = bound()
    (trace, *_) = space.enumerate()
    found = space.find(trace.with_decision(2, (3, 2)))
    assert not found
    assert "decision (3, 2) is not legal" in found.reason
    other = Schedule(PROGRAM)
    other.get_block("c")
    other.get_block("root")
    reason = space.find(other).reason
    assert reason == (
        "no sketch takes these steps; sketch 0 agrees in 1, then it has get_loops of function "
        "and the trace get_block"
    )
    assert (
        Space(()).on(PROGRAM, TARGET).find(trace).reason
        == "the space has no sketch for the program"
    )
    assert 3 not in space
    with pytest.raises(TraceError, match="must be JSON text"):
        space.find("{")


def test_what_was_measured_is_taken_out() -> None:
    space = bound()
    first, second, *_ = space.enumerate()
    left = space.minus([first, second.to_json(), Trace()])
    assert left.count().value == 4
    assert first not in left
    assert left.find(first).reason == "the candidate was taken out of the space"
    assert len(list(left.enumerate())) == len(left.sample(10)) == 4
    assert left.minus([first]).count().value == 4
    assert first in space


def test_a_fixed_schedule_is_one_candidate_as_it_is() -> None:
    chosen = Space.default().on(suite.small("CBR"), TARGET).sample(4, seed=5)
    for schedule in chosen:
        space = Space.from_schedule(schedule).on(suite.small("CBR"), TARGET)
        assert space.count().value == 1
        done = space.attempt(0, seed=0)
        assert isinstance(done, Schedule)
        assert structural_hash(done.program) == structural_hash(schedule.program)
        assert replay(done.trace, space.program).program == done.program


def test_a_fixed_schedule_of_another_program_is_refused() -> None:
    schedule = Space.default().on(PROGRAM, TARGET).sample(1)[0]
    space = Space.from_schedule(schedule).on(ops.matmul(m=5, n=6, k=2), TARGET)
    with pytest.raises(TraceError, match="needs a decision that is legal here"):
        _ = space.sketches
