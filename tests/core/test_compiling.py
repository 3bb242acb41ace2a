"""Compiled kernels: numbers, arguments that are refused, symbolic sizes, threads, records."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import metasched as ms
from metasched import ops, te
from metasched.build import Candidate, build_candidate
from metasched.compiling import Kernel
from metasched.database import TuningRecord, Workload, open_database
from metasched.errors import UsageError
from metasched.ir.stmt import Program
from metasched.measure.records import Status
from metasched.schedule.schedule import Schedule
from metasched.target import Target

pytestmark = pytest.mark.cc

Array = np.ndarray[Any, np.dtype[Any]]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def matmul_of_any_size() -> Program:
    m, n, k = te.var("m"), te.var("n"), te.var("k")
    a = te.placeholder((m, k), "float32", name="a")
    b = te.placeholder((k, n), "float32", name="b")
    r = te.reduce_axis(k, name="r")
    c = te.compute((m, n), lambda i, j: te.sum(a[i, r] * b[r, j], axis=r), name="c")
    return te.program([a, b, c], name="any_matmul")


def sum_and_top(m: int = 6, n: int = 10) -> Program:
    """A program of two outputs of different dtypes."""
    a = te.placeholder((m, n), "float32", name="a")
    twice = te.compute((m, n), lambda i, j: a[i, j] * 2.0, name="twice")
    above = te.compute((m, n), lambda i, j: te.cast(a[i, j] + 100.0, "int32"), name="above")
    return te.program([a, twice, above], name="two_outputs")


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return ms.compile(ops.matmul(m=7, n=13, k=5))


def test_matmul(kernel: Kernel) -> None:
    a, b = normal(7, 5), normal(5, 13, seed=1)
    result = kernel(a, b)
    assert result.dtype == np.float32
    assert result.ctypes.data % 64 == 0, "vector stores like a cache-line boundary"
    np.testing.assert_allclose(result, a @ b, rtol=1e-5, atol=1e-5)
    assert kernel.record is None
    assert "void " in kernel.source
    assert kernel.scheduled != kernel.program


def test_out_is_written_and_returned(kernel: Kernel) -> None:
    a, b = normal(7, 5), normal(5, 13, seed=1)
    for given in (np.full((7, 13), np.nan, np.float32), [np.full((7, 13), np.nan, np.float32)]):
        result = kernel(a, b, out=given)
        assert result is (given[0] if isinstance(given, list) else given)
        np.testing.assert_allclose(result, a @ b, rtol=1e-5, atol=1e-5)


def test_two_outputs_are_a_tuple() -> None:
    made = ms.compile(sum_and_top())
    a = normal(6, 10)
    twice, above = made(a)
    np.testing.assert_array_equal(twice, a * 2)
    np.testing.assert_array_equal(above, (a + 100).astype(np.int32))
    outs = np.zeros_like(twice), np.zeros_like(above)
    assert all(x is y for x, y in zip(made(a, out=outs), outs, strict=True))
    with pytest.raises(UsageError, match="'two_outputs' has 2 outputs, out= has 1"):
        made(a, out=outs[0])


A, B = normal(7, 5), normal(5, 13)
WRONG: dict[str, tuple[tuple[Any, ...], Any, str]] = {
    "count": ((A,), None, r"'matmul' takes 2 arrays \(a, b\), got 1"),
    "shape": ((A, normal(5, 12)), None, r"'b' is float32 \(5, 12\), expected float32 \(5, 13\)"),
    "rank": ((A[0], B), None, r"'a' is float32 \(5,\), expected float32 \(7, 5\)"),
    "dtype": ((A.astype(np.float64), B), None, "'a' is float64 .*expected float32"),
    "layout": ((normal(5, 7).T, B), None, "'a' is not contiguous.*ascontiguousarray"),
    "no array": (([[1.0]], B), None, "'a' is a list, expected a NumPy array"),
    "outputs": ((A, B), (), "'matmul' has 1 outputs, out= has 0"),
    "out shape": ((A, B), np.empty((13, 7), np.float32), r"'c' is float32 \(13, 7\)"),
    "out dtype": ((A, B), np.empty((7, 13)), "'c' is float64"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_refused_with_what_was_expected(kernel: Kernel, case: str) -> None:
    inputs, out, message = WRONG[case]
    with pytest.raises(UsageError, match=message):
        kernel(*inputs, out=out)


def test_out_may_be_neither_read_only_nor_an_input() -> None:
    made = ms.compile(ops.relu(m=4, n=8))
    a = normal(4, 8)
    with pytest.raises(UsageError, match="share memory"):
        made(a, out=a)
    frozen = np.zeros((4, 8), np.float32)
    frozen.setflags(write=False)
    with pytest.raises(UsageError, match="read-only"):
        made(a, out=frozen)


def test_symbolic_sizes_come_from_the_inputs() -> None:
    made = ms.compile(matmul_of_any_size())
    for m, n, k in ((1, 1, 1), (7, 13, 3), (16, 32, 64), (33, 1, 17), (1, 65, 31)):
        a, b = normal(m, k), normal(k, n, seed=1)
        np.testing.assert_allclose(made(a, b), a @ b, rtol=1e-4, atol=1e-4)
    with pytest.raises(UsageError, match=r"'b' is float32 \(4, 5\), expected float32 \(3, 5\)"):
        made(normal(2, 3), normal(4, 5))
    assert 0 < made.time(normal(7, 3), normal(3, 13)) < 0.1


def test_a_size_that_no_input_has_is_refused() -> None:
    n = te.var("n")
    a = te.placeholder((4,), "float32", name="a")
    b = te.compute((n,), lambda i: a[0] * 1.0, name="b")
    made = ms.compile(te.program([a, b], name="spread"))
    with pytest.raises(UsageError, match="size 'n' appears in no input"):
        made(normal(4))


def test_calls_in_many_threads_do_not_disturb_each_other() -> None:
    # Softmax keeps rows in a workspace, which threads must not share.
    made = ms.compile(ops.softmax(m=16, n=64))
    inputs = [normal(16, 64, seed=s) for s in range(8)]
    expected = [made(x) for x in inputs]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(made, inputs * 25))
    for number, result in enumerate(found):
        np.testing.assert_array_equal(result, expected[number % len(inputs)])


def test_time_is_the_seconds_of_one_call(kernel: Kernel) -> None:
    assert 1e-9 < kernel.time(A, B) < 1e-2
    with pytest.raises(UsageError, match="takes 2 arrays"):
        kernel.time(A)


def tuned_record(program: Program, target: Target, folder: str) -> TuningRecord:
    """A record of a schedule that the default would not choose."""
    schedule = Schedule(program)
    i, j, k = schedule.get_loops(schedule.get_block("c"))
    outer, inner = schedule.split(i, [None, 2])
    schedule.reorder(outer, k, inner, j)
    trace = schedule.trace.to_json()
    workload = Workload.from_program(program)
    built = build_candidate(Candidate(workload.text, trace, (), target), folder)
    return TuningRecord(
        workload, target, built.trace, built.program_hash, Status.OK, samples_s=(1e-6,),
        evidence={"max_error": 0.0, "tolerance": 1e-4}, source_hash=built.artefact.source_hash,
    )  # fmt: skip


def test_the_best_record_is_what_is_compiled(tmp_path: Any) -> None:
    program, target = ops.matmul(m=8, n=12, k=5), Target("cpu")
    record = tuned_record(program, target, str(tmp_path))
    a, b = normal(8, 5), normal(5, 12, seed=1)
    url = f"sqlite:///{tmp_path / 'tuning.db'}"
    with open_database(url) as database:
        assert ms.compile(program, database=database).record is None, "nothing on record yet"
        database.put(record)
        made = ms.compile(program, database=database)
        other = ms.compile(ops.matmul(m=8, n=12, k=6), database=database)
    assert made.record is not None
    assert made.record.program_hash == record.program_hash
    assert made.artefact.source_hash == record.source_hash, "what was measured is what is served"
    assert other.record is None
    np.testing.assert_allclose(made(a, b), a @ b, rtol=1e-5, atol=1e-5)
    assert ms.compile(program, database=url).record == made.record


def test_a_record_that_transforms_a_parameter_is_refused(tmp_path: Any) -> None:
    program, target = ops.matmul(m=8, n=12, k=5), Target("cpu")
    sch = Schedule(program)
    sch.transform_layout(sch.get_block("c"), "b", "k, j -> [j, k]")
    record = replace(tuned_record(program, target, str(tmp_path)), trace=sch.trace.to_json())
    with open_database("memory:") as database:
        database.put(record)
        with pytest.raises(
            UsageError, match=r"the schedule transforms .* the parameter 'b'; compile"
        ):
            ms.compile(program, database=database)


def test_what_is_no_program_is_refused() -> None:
    with pytest.raises(UsageError, match=r"a schedule, got str; make one with te.program"):
        ms.compile("matmul")  # type: ignore[arg-type]


def test_a_schedule_is_compiled_as_it_stands() -> None:
    schedule = Schedule(ops.matmul(m=6, n=8, k=4))
    i, _, k = schedule.get_loops(schedule.get_block("c"))
    schedule.parallel(i)
    schedule.unroll(k)
    kernel = ms.compile(schedule)
    assert kernel.program is schedule.original
    assert kernel.scheduled is schedule.program
    assert kernel.record is None
    a, b = normal(6, 4), normal(4, 8, seed=1)
    np.testing.assert_allclose(kernel(a, b), a @ b, rtol=1e-5, atol=1e-6)
    with pytest.raises(UsageError, match="as it stands, got a database, too"):
        ms.compile(schedule, database="memory:")
