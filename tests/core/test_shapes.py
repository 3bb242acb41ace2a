from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import metasched as ms
from metasched.database import AbstractDatabase, Equality, MemoryDatabase
from metasched.database.fitting import Fit, covering_factors, fitted, nearest_factors
from metasched.errors import DatabaseError, UsageError
from metasched.ir.reference import evaluate
from metasched.measure.local import LocalWorkers
from metasched.measure.records import MeasureConfig
from metasched.schedule.replay import replay
from metasched.schedule.samplers.site import PerfectTile
from metasched.shape_lookup import How, compile_size
from metasched.shapes import (
    Choice,
    Dispatch,
    Loss,
    choose,
    load_dispatch,
    spread,
    tune_shapes,
)
from metasched.trace.trace import Trace
from metasched.trial import Trials

QUICK = MeasureConfig(min_samples=1, max_samples=2)
TARGET = ms.Target("cpu")


def make(m: int) -> ms.Program:
    return ms.ops.matmul(m=m, n=24, k=16)


@pytest.fixture(scope="module")
def workers() -> Iterator[LocalWorkers]:
    with LocalWorkers() as pool:
        yield pool


@pytest.fixture(scope="module")
def tuned(workers: LocalWorkers) -> Iterator[tuple[AbstractDatabase, Dispatch]]:
    with MemoryDatabase() as database:
        dispatch = tune_shapes(
            make, range(1, 33), schedules=2, trials=6, sample=3,
            database=database, workers=workers, measure=QUICK,
        )  # fmt: skip
        yield database, dispatch


def compute(kernel: ms.Kernel, m: int) -> None:
    rng = np.random.default_rng(m)
    a, b = (rng.random(s, dtype=np.float32) for s in ((m, 16), (16, 24)))
    np.testing.assert_allclose(kernel(a, b), a @ b, rtol=1e-5)


@pytest.mark.cc
def test_a_set_and_its_guards_serve_every_size(tuned: tuple[AbstractDatabase, Dispatch]) -> None:
    database, dispatch = tuned
    assert 1 <= len(dispatch.choices) <= 2
    assert dispatch.loss >= 0
    assert load_dispatch(make, TARGET, database) == dispatch
    assert Dispatch.from_json(dispatch.to_json()) == dispatch
    assert f"{len(dispatch.choices)} schedules, " in str(dispatch)
    for m in (1, 7, 13, 31, 50):
        answer = compile_size(make, m, database)
        assert answer.how in (How.DISPATCH, How.RECORD)
        compute(answer.kernel, m)


@pytest.mark.cc
def test_a_size_that_is_measured_becomes_a_record(
    tuned: tuple[AbstractDatabase, Dispatch], workers: LocalWorkers
) -> None:
    database, _ = tuned
    trials = Trials(workers, TARGET, config=QUICK)
    first = compile_size(make, 19, database, trials=trials)
    assert first.is_measured
    assert first.how in (How.DISPATCH, How.DEFAULT)
    compute(first.kernel, 19)
    assert compile_size(make, 19, database).how is How.RECORD


@pytest.mark.cc
def test_the_nearest_size_gives_its_schedule(workers: LocalWorkers) -> None:
    with MemoryDatabase() as database:
        assert compile_size(make, 20, database).how is How.DEFAULT
        for m in (8, 32):
            ms.tune(make(m), database=database, trials=2, workers=workers, measure=QUICK)
        answer = compile_size(make, 27, database)
        assert (answer.how, answer.is_measured) == (How.NEAREST, False)
        compute(answer.kernel, 27)
        found = database.apply(make(27), TARGET, Equality.ANY_SHAPE)
        assert found is not None
        assert "(32, 16)" in found.record.workload.text
        other = ms.ops.softmax(m=8, n=16)
        assert database.apply(other, TARGET, Equality.ANY_SHAPE) is None


@pytest.mark.cc
@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("m", [1, 5, 12, 17, 64])
def test_a_trace_fits_other_sizes_and_keeps_the_meaning(
    tuned: tuple[AbstractDatabase, Dispatch], m: int, fit: Fit
) -> None:
    database, _ = tuned
    best = database.best(make(32), TARGET)
    assert best is not None
    schedule = fitted(Trace.from_json(best.trace), make(m), TARGET, fit)
    assert replay(schedule.trace, make(m)).program == schedule.program
    rng = np.random.default_rng(0)
    inputs = {"a": rng.random((m, 16)), "b": rng.random((16, 24))}
    got, expected = evaluate(schedule.program, inputs), evaluate(make(m), inputs)
    np.testing.assert_allclose(got["c"], expected["c"])


@pytest.mark.parametrize(
    ("extent", "factors", "covering"),
    [
        (100, (4, 2, 8), (7, 2, 8)),
        (64, (4, 2, 8), (4, 2, 8)),
        (3, (4, 2, 8), (1, 1, 3)),
        (1, (4, 2, 8), (1, 1, 1)),
        (9, (4, 4, 8), (1, 2, 8)),
    ],
)
def test_factors_that_cover(
    extent: int, factors: tuple[int, ...], covering: tuple[int, ...]
) -> None:
    assert covering_factors(extent, factors) == covering


def test_factors_that_divide() -> None:
    assert nearest_factors(PerfectTile(13, 3, 64), (4, 2, 8)) == (1, 1, 13)
    assert nearest_factors(PerfectTile(24, 3, 8), (4, 2, 8)) == (2, 2, 6)


A, B, C = (Choice(name, size, Fit.COVER) for name, size in (("a", 1), ("b", 8), ("c", 64)))


def test_the_set_loses_least_and_guards_lie_between_sizes() -> None:
    times = {
        1: {0: 1.0, 1: 2.0, 2: 9.0},
        4: {0: 1.0, 1: 1.1, 2: 9.0},
        16: {0: 4.0, 1: 2.0, 2: 2.1},
        64: {0: 16.0, 2: 4.0},
    }
    whole = choose([A, B, C], times, 3)
    assert set(whole.choices) == {A, B, C}
    assert whole.loss == 0
    two = choose([A, B, C], times, 2)
    assert set(two.choices) == {A, C}
    assert [bound for bound, _ in two.guards] == [8, 64]
    assert (two.choice(3), two.choice(8), two.choice(9), two.choice(1000)) == (A, A, C, C)
    assert two.losses[2] == Loss(16, 2.1, 2.0)
    one = choose([A, B, C], times, 1)
    assert one.choices == (A,)
    assert one.losses[-1] == Loss(64, 16.0, 4.0)
    # Where nothing of the set fits, the default schedule serves.
    assert choose([B], {64: {-1: 8.0, 2: 4.0}}, 1).losses == (Loss(64, 8.0, 4.0),)


def test_one_schedule_that_is_best_everywhere_is_the_whole_set() -> None:
    dispatch = choose([A, B], {1: {0: 1.0, 1: 2.0}, 9: {0: 1.0, 1: 2.0}}, 6)
    assert dispatch.choices == (A,)
    assert dispatch.guards == ((9, 0),)


def test_sizes_are_spread_by_rank() -> None:
    assert spread([1, 1, 1, 8, 9, 512], 3) == [1, 512]  # small ones are frequent
    assert spread(range(1, 513), 6) == [1, 103, 205, 308, 410, 512]
    assert spread([5], 4) == [5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "is malformed"),
        ('{"version":1,"choices":[],"guards":[],"losses":[[1e999,1,1]]}', "is malformed"),
        ('{"version":9}', "has version 9, this metasched reads 1"),
        ('{"version":1,"choices":[],"guards":[[1,0]],"losses":[]}', "a guard has no schedule"),
        ('{"version":1,"choices":[],"guards":[],"losses":[]}', "a guard has no schedule"),
        (
            '{"version":1,"choices":[["",1,"cover"]],"guards":[[1,0]],"losses":[[1,1.0,2.0]]}',
            "a loss is no ratio of times",
        ),
    ],
)
def test_a_text_that_is_no_set_is_refused(text: str, message: str) -> None:
    with pytest.raises(DatabaseError, match=message):
        Dispatch.from_json(text)


def test_nothing_to_tune_is_refused() -> None:
    with pytest.raises(UsageError, match="needs sizes, schedules, trials"):
        tune_shapes(make, [])
