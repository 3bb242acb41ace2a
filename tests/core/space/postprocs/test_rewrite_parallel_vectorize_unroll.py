from __future__ import annotations

from metasched import ops
from metasched.ir.stmt import For, Program
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.generate import drafts
from metasched.space.loop_choice import nests
from metasched.space.postprocs import (
    RewriteParallelVectorizeUnroll,
    RewriteReductionBlock,
    postprocess,
)
from metasched.space.postprocs.postproc import POSTPROCS
from metasched.space.rules import ParallelizeVectorizeUnroll
from metasched.target import Target
from metasched.testing.equivalence import check_equivalent
from tests.core.space.outline import TARGET, outline

POSTPROCS_USED = (RewriteReductionBlock(), RewriteParallelVectorizeUnroll(least_work=1))


def finish(
    program: Program, *, steps: int = 0, jobs: int = 16, target: Target = TARGET, least: int = 1
) -> Schedule:
    rule = ParallelizeVectorizeUnroll(max_jobs_per_core=jobs, unroll_max_steps=(steps,))
    (draft,) = drafts(program, (rule,), target)
    used = (RewriteReductionBlock(), RewriteParallelVectorizeUnroll(least_work=least))
    done = postprocess(draft, used, target)
    assert isinstance(done, Schedule), done
    check_equivalent(program, done.program)
    return done


def test_an_elementwise_stage_is_parallel_outside_and_a_vector_inside() -> None:
    assert outline(finish(ops.relu(m=16, n=32)).program) == ["p:i v:j <o>"]


def test_loops_are_fused_up_to_the_most_jobs() -> None:
    program = ops.batch_matmul(b=4, m=8, n=8, k=4)
    assert outline(finish(program).program) == ["p:q_i j [<z_init>] [k <z>]"]


def test_init_nests_are_vectorised() -> None:
    schedule = Schedule(ops.matmul(m=8, n=16, k=8))
    block = schedule.get_block("c")
    i, j, k = schedule.get_loops(block)
    schedule.reorder(i, k, j)
    schedule.annotate(schedule.get_block("root"), "meta_schedule.vectorize", 64)
    done = postprocess(schedule, POSTPROCS_USED, TARGET)
    assert isinstance(done, Schedule)
    assert outline(done.program) == ["i [v:j_init <c_init>] [k v:j <c>]"]


def test_long_loops_are_split_by_a_length_that_divides_them() -> None:
    done = finish(ops.relu(m=16, n=192)).program
    assert outline(done) == ["p:i j_0 v:j_1 <o>"]


def test_small_nests_stay_on_one_core() -> None:
    assert outline(finish(ops.relu(m=4, n=16), least=65).program) == ["i v:j <o>"]
    assert outline(finish(ops.relu(m=4, n=16), least=64).program) == ["p:i v:j <o>"]


def test_one_core_runs_nothing_in_parallel() -> None:
    one = Target("cpu", cores=1)
    assert outline(finish(ops.relu(m=16, n=32), target=one).program) == ["i v:j <o>"]


def test_the_unroll_limit_is_put_on_every_nest() -> None:
    done = finish(ops.softmax(m=4, n=16), steps=64).program
    loops = [nest for nest in nests(State(done)) if isinstance(nest, For)]
    assert len(loops) == 4
    for loop in loops:
        assert dict(loop.annotations) == {
            "pragma_auto_unroll_max_step": 64,
            "pragma_unroll_explicit": 1,
        }


def test_the_notes_are_taken_off_the_root_block() -> None:
    assert not finish(ops.relu(m=16, n=32), steps=64).program.root.annotations


def test_without_notes_nothing_happens() -> None:
    program = ops.relu(m=16, n=32)
    done = postprocess(Schedule(program), POSTPROCS_USED, TARGET)
    assert isinstance(done, Schedule)
    assert done.program == program


def test_registered() -> None:
    name = "rewrite_parallel_vectorize_unroll"
    assert POSTPROCS[name] is RewriteParallelVectorizeUnroll
