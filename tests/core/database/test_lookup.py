from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import metasched as ms
from metasched import te
from metasched.database import Equality, MemoryDatabase, Workload, apply, current, using
from metasched.database.transfer import replay_what_fits
from metasched.errors import UsageError
from metasched.ir.hash import structural_hash
from metasched.ir.reference import evaluate
from metasched.ops import dense, matmul
from metasched.schedule.schedule import Schedule
from metasched.testing.database_records import make_record, make_target


def scaled(scale: float, names: str = "abc") -> ms.Program:
    x, y, z = names
    a = te.placeholder((8, 12), "float32", name=x)
    k = te.reduce_axis(12, name="k")
    b = te.compute((8,), lambda i: te.sum(a[i, k] * scale, axis=k), name=y)
    c = te.compute((8,), lambda i: b[i] + scale, name=z)
    return te.program([a, c], name="scaled")


def tuned(program: ms.Program, block: str, tile: int = 4, **changes: object):
    schedule = Schedule(program)
    row, *_ = schedule.get_loops(schedule.get_block(block))
    outer, _ = schedule.split(row, [None, tile])
    schedule.parallel(outer)
    return make_record(
        tile,
        workload=Workload.from_program(program),
        trace=schedule.trace.to_json(),
        program_hash=structural_hash(schedule.program),
        **changes,
    )


def check_same_result(a: ms.Program, b: ms.Program) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.random(tuple(int(str(n)) for n in p.shape)).astype(np.float32) for p in a.inputs]
    results = [
        list(evaluate(p, dict(zip((q.name for q in p.inputs), arrays, strict=True))).values())
        for p in (a, b)
    ]
    np.testing.assert_array_equal(results[0], results[1])


def test_exactly_the_program() -> None:
    program = matmul(m=8, n=8, k=8)
    with MemoryDatabase() as database:
        record = tuned(program, "c")
        database.put(record)
        found = apply(database, program, make_target())
        assert found is not None
        assert (found.record, found.equality, found.dropped) == (record, Equality.STRUCTURAL, ())
        assert structural_hash(found.program) == record.program_hash
        assert apply(database, program, make_target(cores=99), Equality.ANCHOR_BLOCK) is None
        assert apply(database, matmul(m=8, n=8, k=16), make_target(), Equality.ANCHOR_BLOCK) is None


def test_a_program_that_differs_in_constants() -> None:
    ours, theirs = scaled(2.0), scaled(3.0, "xyz")
    with MemoryDatabase() as database:
        database.put(tuned(ours, "b"))
        assert database.apply(theirs, make_target()) is None
        found = database.apply(theirs, make_target(), Equality.IGNORE_CONSTANTS)
        assert found is not None
        assert found.equality is Equality.IGNORE_CONSTANTS
        check_same_result(theirs, found.program)
        assert "parallel" in str(found.program)


def test_a_program_with_another_epilogue() -> None:
    ours = matmul(m=8, n=16, k=32)
    theirs = dense(m=8, n=16, k=32, bias=True, activation="relu")
    with MemoryDatabase() as database:
        database.put(tuned(ours, "c"))
        assert database.apply(theirs, make_target(), Equality.IGNORE_CONSTANTS) is None
        found = database.apply(theirs, make_target(), Equality.ANCHOR_BLOCK)
        assert found is not None
        assert (found.equality, found.dropped) == (Equality.ANCHOR_BLOCK, ())
        check_same_result(theirs, found.program)
        assert "parallel" in str(found.program)


def test_stricter_equalities_come_first() -> None:
    ours, near = scaled(2.0), scaled(3.0)
    with MemoryDatabase() as database:
        database.put(tuned(ours, "b", tile=2))
        database.put(replace(tuned(near, "b", tile=4), samples_s=(1e-6,)))
        found = database.apply(ours, make_target(), Equality.ANCHOR_BLOCK)
        assert found is not None
        assert found.equality is Equality.STRUCTURAL


def test_a_key_that_lies_is_not_believed() -> None:
    """A record whose text is of another program than its hash says gives nothing."""
    lie = replace(
        tuned(scaled(2.0), "b"), workload=Workload("f" * 64, "x", str(matmul(m=4, n=4, k=4)))
    )
    with MemoryDatabase() as database:
        database.put(lie)
        assert database.apply(scaled(3.0), make_target(), Equality.ANCHOR_BLOCK) is None


def test_steps_that_do_not_fit_are_left_out_with_all_that_need_them() -> None:
    schedule = Schedule(scaled(2.0))
    for block in ("c", "b"):
        loop, *_ = schedule.get_loops(schedule.get_block(block))
        schedule.split(loop, schedule.sample_perfect_tile(loop, n=2))
    a = te.placeholder((8, 12), "float32", name="a")
    k = te.reduce_axis(12, name="k")
    only = te.program([a, te.compute((8,), lambda i: te.sum(a[i, k], axis=k), name="b")])
    taken, dropped = replay_what_fits(schedule.trace, only)
    kinds = ["get_block", "get_loops", "sample_perfect_tile", "split"]
    assert [step.kind for step in taken.trace.instructions] == kinds
    assert [line.partition(":")[0] for line in dropped] == kinds
    assert "is not there" in dropped[-1]
    assert taken.trace.decisions == {2: schedule.trace.decisions[6]}


@pytest.mark.cc
def test_the_database_in_use_is_looked_into() -> None:
    program = scaled(2.0)
    host = ms.Target("cpu")
    with MemoryDatabase() as database:
        database.put(tuned(program, "b", target=host))
        assert current() is None
        with ms.using(database) as inner:
            assert current() is inner is database
            kernel = ms.compile(program)
            assert kernel.record is not None
            assert kernel.equality is Equality.STRUCTURAL
            with using("memory:"):
                assert ms.compile(program).record is None
            near = ms.compile(scaled(5.0), equality="ignore-constants")
            assert near.equality is Equality.IGNORE_CONSTANTS
            x = np.ones((8, 12), np.float32)
            np.testing.assert_allclose(near(x), 65.0)
        assert current() is None
        assert ms.compile(program).record is None


def test_an_unknown_equality_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown equality 'structual'; did you mean 'structural'"):
        ms.compile(scaled(2.0), database="memory:", equality="structual")
