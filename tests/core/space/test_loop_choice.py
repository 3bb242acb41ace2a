from __future__ import annotations

import pytest

from metasched import ops, te
from metasched.ir.stmt import Program
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.loop_choice import (
    VectorPlan,
    iterations,
    nests,
    parallel_depth,
    vector_plan,
)


def depth(program: Program, *, most: int = 32, cores: int = 2, nest: int = 0) -> int:
    return parallel_depth(nests(State(program))[nest], most=most, cores=cores)


def plan(program: Program, block: str, *, most: int = 64, bits: int = 512) -> VectorPlan | None:
    state = State(program)
    return vector_plan(state, state.block(block), most=most, vector_bits=bits)


def vector_sum(*shape: int) -> Program:
    x = te.placeholder(shape, name="x")
    return te.program([x, te.compute(shape, lambda *i: x[i] + 1.0, name="o")])


def test_nests_and_their_iterations() -> None:
    state = State(ops.softmax(m=4, n=8))
    assert [iterations(state, nest) for nest in nests(state)] == [32] * 4


def test_iterations_of_symbolic_size_are_unknown() -> None:
    n = te.var("n")
    x = te.placeholder((n,), name="x")
    state = State(te.program([x, te.compute((n,), lambda i: x[i] + 1.0)]))
    assert iterations(state, nests(state)[0]) is None


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((4, 8, 16), 2),
        ((4, 9, 16), 1),
        ((64, 8, 16), 1),
        ((1, 64, 16), 2),
        ((1, 1, 1), 0),
        ((3, 20, 16), 2),
    ],
    ids=["fills", "exceeds", "first exceeds", "unit loops", "nothing", "evens out"],
)
def test_parallel_depth(shape: tuple[int, ...], expected: int) -> None:
    assert depth(vector_sum(*shape)) == expected


def test_reduction_loops_end_the_chain() -> None:
    assert depth(ops.reduce_sum(m=4, n=64)) == 1
    assert depth(ops.norm(b=1, m=8, n=8)) == 0


def test_a_symbolic_loop_runs_in_parallel_by_itself() -> None:
    n = te.var("n")
    x = te.placeholder((n, 8), name="x")
    program = te.program([x, te.compute((n, 8), lambda i, j: x[i, j] + 1.0)])
    assert depth(program) == 1


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((4, 48), VectorPlan(1, None)),
        ((4, 128), VectorPlan(1, 64)),
        ((4, 1000), VectorPlan(2, 32)),
        ((1000,), VectorPlan(1, 40)),
        ((8, 48, 1), VectorPlan(2, None)),
        ((2, 8, 3), VectorPlan(3, None)),
        ((5, 1, 7), VectorPlan(3, None)),
        ((109,), VectorPlan(1, None)),
        ((1009,), VectorPlan(1, 64)),
        ((1, 1), None),
    ],
)
def test_vector_plan_of_contiguous_loops(
    shape: tuple[int, ...], expected: VectorPlan | None
) -> None:
    assert plan(vector_sum(*shape), "o") == expected


def test_lanes_follow_the_dtype() -> None:
    x = te.placeholder((4, 24), "float64", name="x")
    program = te.program([x, te.compute((4, 24), lambda i, j: x[i, j] + x[i, j], name="o")])
    assert plan(program, "o") == VectorPlan(1, None)
    assert plan(vector_sum(4, 24), "o") == VectorPlan(2, 48)


def test_a_broadcast_operand_keeps_loops_apart() -> None:
    x, b = te.placeholder((4, 24), name="x"), te.placeholder((24,), name="b")
    program = te.program([x, b, te.compute((4, 24), lambda i, j: x[i, j] + b[j], name="o")])
    assert plan(program, "o") == VectorPlan(1, None)


def test_a_condition_keeps_loops_apart() -> None:
    from metasched.testing import suite

    assert plan(suite.program("C2D"), "pad") == VectorPlan(1, None)


def test_an_innermost_reduction_is_not_vectorised() -> None:
    assert plan(ops.reduce_sum(m=4, n=64), "o") is None


def test_a_store_that_jumps_is_not_vectorised() -> None:
    schedule = Schedule(vector_sum(8, 16))
    schedule.reorder(*reversed(schedule.get_loops(schedule.get_block("o"))))
    assert plan(schedule.program, "o") is None


def test_a_symbolic_loop_is_split_by_one_vector() -> None:
    n = te.var("n")
    x = te.placeholder((n,), name="x")
    program = te.program([x, te.compute((n,), lambda i: x[i] + 1.0, name="o")])
    assert plan(program, "o") == VectorPlan(1, 16)


def test_a_parallel_loop_is_not_vectorised() -> None:
    schedule = Schedule(vector_sum(64))
    schedule.parallel(schedule.get_loops(schedule.get_block("o"))[0])
    assert plan(schedule.program, "o") is None
