from __future__ import annotations

from metasched import ops
from metasched.ir.stmt import Program
from metasched.schedule.schedule import Schedule
from metasched.space.postprocs import RewriteReductionBlock, postprocess
from metasched.space.postprocs.postproc import POSTPROCS
from metasched.testing.equivalence import check_equivalent
from tests.core.space.outline import TARGET, outline

PROGRAM = ops.matmul(m=8, n=8, k=8)


def finished(schedule: Schedule, program: Program = PROGRAM) -> list[str]:
    done = postprocess(schedule, (RewriteReductionBlock(),), TARGET)
    assert isinstance(done, Schedule), done
    check_equivalent(program, done.program)
    return outline(done.program)


def tiled(outer: int) -> Schedule:
    """k_0 around i and j, k_1 inside."""
    schedule = Schedule(PROGRAM)
    i, j, k = schedule.get_loops(schedule.get_block("c"))
    k_0, k_1 = schedule.split(k, (outer, None))
    schedule.reorder(i, k_0, j, k_1)
    return schedule


def test_the_init_goes_before_the_reduction() -> None:
    assert finished(Schedule(PROGRAM)) == ["i j [<c_init>] [k <c>]"]


def test_the_init_covers_the_spatial_loops_inside() -> None:
    assert finished(tiled(outer=4)) == ["i [j_init <c_init>] [k_0 j k_1 <c>]"]


def test_reduction_loops_of_one_iteration_are_passed_over() -> None:
    assert finished(tiled(outer=1)) == ["i k_0 j [<c_init>] [k_1 <c>]"]


def test_a_reduction_of_one_element() -> None:
    program = ops.matmul(m=2, n=2, k=1)
    assert finished(Schedule(program), program) == ["i j [<c_init>] [k <c>]"]


def test_every_reduction_is_decomposed() -> None:
    program = ops.softmax(m=4, n=4)
    lines = finished(Schedule(program), program)
    assert sum("_init>" in line for line in lines) == 2


def test_what_is_decomposed_stays() -> None:
    schedule = Schedule(PROGRAM)
    block = schedule.get_block("c")
    schedule.decompose_reduction(block, schedule.get_loops(block)[0])
    assert finished(schedule) == outline(schedule.program)


def test_registered() -> None:
    assert POSTPROCS["rewrite_reduction_block"] is RewriteReductionBlock
