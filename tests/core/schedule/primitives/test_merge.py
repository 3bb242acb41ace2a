from __future__ import annotations

from collections.abc import Callable

import pytest

from metasched import te
from metasched.errors import ScheduleError
from metasched.ir.expr import Expr
from metasched.ir.stmt import Program
from metasched.schedule.schedule import Schedule
from metasched.testing.round_trip import check_symbolic_replay
from metasched.trace.instruction import Ref
from tests.core.schedule.programs import body, check, matmul, two_stages


def loops(sch: Schedule, block: str) -> tuple[Ref, ...]:
    return sch.get_loops(sch.get_block(block))


def shifted(n: int, index: Callable[[Expr], Expr]) -> Program:
    """``b = a + 1``, then ``c[i] = b[index(i)]``."""
    a = te.placeholder((n,), "float32", name="a")
    b = te.compute((n,), lambda i: a[i] + 1.0, name="b")
    c = te.compute((n,), lambda i: b[index(i)] * 2.0, name="c")
    return te.program([a, c], name="shifted")


def three_stages(n: int, m: int) -> Program:
    """Two stages on end, and one between them that has nothing to do with them."""
    a = te.placeholder((n, m), "float32", name="a")
    b = te.compute((n, m), lambda i, j: a[i, j] + 1.0, name="b")
    other = te.compute((n, m), lambda i, j: a[i, j] * 3.0, name="other")
    c = te.compute((n, m), lambda i, j: b[i, j] * 2.0, name="c")
    return te.program([a, other, c], name="three_stages")


def test_outer_loops() -> None:
    sch = Schedule(two_stages(6, 8))
    merged = sch.merge(loops(sch, "b")[0], loops(sch, "c")[0])
    assert body(sch) == (
        'b = alloc((6, 8), "float32")\n'
        "for i_m in serial(6):\n"
        "    for j in serial(8):\n"
        '        with block("b"):\n'
        "            v_i = spatial(6, i_m)\n"
        "            v_j = spatial(8, j)\n"
        "            reads(a[v_i, v_j])\n"
        "            writes(b[v_i, v_j])\n"
        "            b[v_i, v_j] = a[v_i, v_j] + float32(1.0)\n"
        "    for c_j in serial(8):\n"
        '        with block("c"):\n'
        "            v_c_i = spatial(6, i_m)\n"
        "            v_c_j = spatial(8, c_j)\n"
        "            reads(b[v_c_i, v_c_j])\n"
        "            writes(c[v_c_i, v_c_j])\n"
        "            c[v_c_i, v_c_j] = b[v_c_i, v_c_j] * float32(2.0)\n"
    )
    assert loops(sch, "c")[0] != merged
    sch.parallel(merged)
    check(sch)


@pytest.mark.parametrize(("n", "m"), [(6, 8), (1, 1), (7, 1), (1, 5)])
def test_the_loops_around_are_merged_too(n: int, m: int) -> None:
    sch = Schedule(two_stages(n, m))
    inner = sch.merge(loops(sch, "c")[1], loops(sch, "b")[1])
    sch.vectorize(inner)
    assert "for i_m in" in body(sch)
    assert "for j_m in vectorized" in body(sch)
    check(sch)


def test_three_nests() -> None:
    sch = Schedule(three_stages(5, 3))
    sch.merge(*(loops(sch, name)[0] for name in ("b", "other", "c")))
    assert body(sch).count("for i_m in serial(5):") == 1
    check(sch)


def test_what_stands_between_stays_in_front() -> None:
    sch = Schedule(three_stages(5, 3))
    sch.merge(loops(sch, "b")[1], loops(sch, "c")[1])
    blocks = [line.strip() for line in body(sch).splitlines() if "with block" in line]
    assert blocks == ['with block("other"):', 'with block("b"):', 'with block("c"):']
    check(sch)


def test_earlier_elements_may_be_read() -> None:
    zero = te.const(0.0, "float32")
    a = te.placeholder((7, 3), "float32", name="a")
    b = te.compute((7, 3), lambda i, j: a[i, j] + 1.0, name="b")
    c = te.compute(
        (7, 3), lambda i, j: te.if_then_else(i > 0, b[i - 1, 2 - j], zero) + b[i, j], name="c"
    )
    sch = Schedule(te.program([a, c], name="sums"))
    with pytest.raises(ScheduleError, match="needs what nests before do in later iterations"):
        sch.merge(loops(sch, "b")[1], loops(sch, "c")[1])
    sch.merge(loops(sch, "b")[0], loops(sch, "c")[0])
    check(sch)


def test_fused_and_split_loops() -> None:
    sch = Schedule(two_stages(6, 8))
    for block in ("b", "c"):
        fused = sch.fuse(*loops(sch, block))
        sch.split(fused, [None, 5])
    sch.merge(loops(sch, "b")[1], loops(sch, "c")[1])
    check(sch)


def test_an_init_and_its_reduction() -> None:
    sch = Schedule(matmul(3, 5, 7))
    sch.decompose_reduction(sch.get_block("c"), loops(sch, "c")[0])
    sch.merge(loops(sch, "c_init")[1], loops(sch, "c")[1])
    check(sch)


def test_sampled_tiles() -> None:
    sch = Schedule(two_stages(12, 8))
    loop = loops(sch, "b")[0]
    factors = sch.sample_perfect_tile(loop, 2, decision=[4, 3])
    for block in ("b", "c"):
        sch.split(loops(sch, block)[0], factors)
    sch.merge(loops(sch, "b")[1], loops(sch, "c")[1])
    check(sch)
    check_symbolic_replay(sch)


def test_a_merged_loop_is_gone() -> None:
    sch = Schedule(two_stages())
    i = loops(sch, "b")[0]
    sch.merge(i, loops(sch, "c")[0])
    with pytest.raises(ScheduleError, match="loop 'i' is gone, merge removed it"):
        sch.parallel(i)


def test_requires_at_least_two_loops() -> None:
    sch = Schedule(two_stages())
    with pytest.raises(ScheduleError, match="merge: expected at least two loops"):
        sch.merge(loops(sch, "b")[0])


@pytest.mark.parametrize(("k", "j"), [(0, 0), (0, 1)])
def test_requires_loops_in_nests_of_one_sequence(k: int, j: int) -> None:
    sch = Schedule(two_stages())
    with pytest.raises(ScheduleError, match="loops in nests of one sequence, got 'i' and"):
        sch.merge(loops(sch, "b")[k], loops(sch, "b")[j])
    c = loops(sch, "c")[0]
    with pytest.raises(ScheduleError, match="sequence, got 'i' and 'j' of the same nest"):
        sch.merge(*loops(sch, "b"), c)


def test_requires_each_loop_to_be_the_only_statement_in_the_one_before_it() -> None:
    sch = Schedule(three_stages(5, 3))
    sch.merge(loops(sch, "b")[0], loops(sch, "other")[0])
    with pytest.raises(ScheduleError, match="only statement in the one before it, got 'b_j'"):
        sch.merge(loops(sch, "b")[1], loops(sch, "c")[1])


def test_requires_loops_at_the_same_depth_of_their_nests() -> None:
    sch = Schedule(two_stages(4, 4))
    with pytest.raises(ScheduleError, match="got 'c_j' at depth 2 and 'i' at 1"):
        sch.merge(loops(sch, "b")[0], loops(sch, "c")[1])


def test_requires_serial_loops_without_annotations() -> None:
    sch = Schedule(two_stages())
    sch.parallel(loops(sch, "b")[0])
    with pytest.raises(ScheduleError, match="without annotations, got 'i', which is parallel"):
        sch.merge(loops(sch, "b")[1], loops(sch, "c")[1])


def test_requires_loops_of_the_same_extent() -> None:
    sch = Schedule(two_stages(6, 6))
    sch.split(loops(sch, "b")[0], [2, 3])
    with pytest.raises(ScheduleError, match="loops of the same extent, got 6 of 'c_i' and 2 of"):
        sch.merge(loops(sch, "b")[0], loops(sch, "c")[0])


def test_requires_nothing_between_the_nests_that_shares_a_result() -> None:
    a = te.placeholder((6,), "float32", name="a")
    b = te.compute((6,), lambda i: a[i] + 1.0, name="b")
    c = te.compute((6,), lambda i: b[i] * 2.0, name="c")
    d = te.compute((6,), lambda i: c[i] + b[i], name="d")
    sch = Schedule(te.program([a, d], name="chain"))
    state = sch.state
    with pytest.raises(ScheduleError, match="got block 'c', which shares 'b' with 'b'"):
        sch.merge(loops(sch, "b")[0], loops(sch, "d")[0])
    assert sch.state is state


LATER: list[Callable[[Expr], Expr]] = [lambda i: 6 - i, lambda i: te.min(i + 1, te.const(6))]


@pytest.mark.parametrize("index", LATER)
def test_requires_no_iteration_that_needs_what_nests_before(
    index: Callable[[Expr], Expr],
) -> None:
    sch = Schedule(shifted(7, index))
    with pytest.raises(ScheduleError, match="got block 'c', which shares 'b' with 'b'"):
        sch.merge(loops(sch, "b")[0], loops(sch, "c")[0])


def test_requires_no_iteration_that_needs_what_nests_before_finish() -> None:
    sch = Schedule(with_epilogue(3, 5, 5))
    i, j, k = loops(sch, "c")
    sch.reorder(i, k, j)
    state = sch.state
    with pytest.raises(ScheduleError, match="got block 'd', which shares 'c' with 'c'"):
        sch.merge(k, loops(sch, "d")[1])
    assert sch.state is state
    sch.reorder(i, j, k)
    sch.merge(j, loops(sch, "d")[1])
    check(sch)


def with_epilogue(m: int, n: int, k: int) -> Program:
    a = te.placeholder((m, k), "float32", name="a")
    r = te.reduce_axis(k, name="r")
    c = te.compute((m, n), lambda i, j: te.sum(a[i, r] * 2.0, axis=r), name="c")
    d = te.compute((m, n), lambda i, j: c[i, j] + 1.0, name="d")
    return te.program([a, d], name="epilogue")
