from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

import metasched as ms
from metasched.database import MemoryDatabase, Trust, TuningRecord, Workload
from metasched.errors import UsageError
from metasched.measure.local import LocalWorkers
from metasched.measure.records import MeasureConfig, Status
from metasched.testing.database_records import SOFTMAX, make_record
from metasched.verifying import verify

PROGRAM = ms.ops.matmul(m=32, n=32, k=32)
QUICK = MeasureConfig(min_samples=3, max_samples=3)
pytestmark = pytest.mark.cc


@pytest.fixture(scope="module")
def workers() -> Iterator[LocalWorkers]:
    with LocalWorkers() as pool:
        yield pool


@pytest.fixture(scope="module")
def record(workers: LocalWorkers) -> TuningRecord:
    with MemoryDatabase() as database:
        ms.tune(PROGRAM, database=database, trials=2, workers=workers)
        best = database.best(PROGRAM, ms.Target("cpu"))
    assert best is not None
    return replace(best, job_id=None)


def verified(record: TuningRecord, workers: LocalWorkers):
    with MemoryDatabase() as database:
        database.put(record)
        (verdict,) = verify(database, workers=workers, config=QUICK)
        (after,) = database.records()
        served = database.best(record.workload.hash, ms.Target("cpu"))
    return verdict, after, served


def test_a_record_that_holds_is_current(record: TuningRecord, workers: LocalWorkers) -> None:
    # Whatever else the machine does, its time lies between these.
    wide = replace(record, samples_s=(1e-9, record.time_s or 1.0, 10.0))
    verdict, after, served = verified(wide, workers)
    assert verdict.trust is after.trust is Trust.CURRENT
    assert after.verified_at is not None
    assert after.samples_s[:3] == wide.samples_s
    assert len(after.samples_s) >= 6
    assert after.evidence["seed"] == 1
    assert isinstance(after.evidence["noise_floor"], float)
    assert served == after


def test_a_time_that_does_not_come_again_is_suspect(
    record: TuningRecord, workers: LocalWorkers
) -> None:
    verdict, after, served = verified(replace(record, samples_s=(1e-12,) * 3), workers)
    assert verdict.trust is after.trust is Trust.SUSPECT
    assert "us on record" in after.trust_note
    assert served == after


def test_what_its_worker_could_not_tell_is_not_suspect(
    record: TuningRecord, workers: LocalWorkers
) -> None:
    evidence = {**record.evidence, "noise_floor": 1e9}
    verdict, *_ = verified(replace(record, samples_s=(1e-12,) * 3, evidence=evidence), workers)
    assert verdict.trust is Trust.CURRENT


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"program_hash": "f" * 64}, "its trace gives another program now"),
        ({"trace": '{"version":1,"instructions":[["frob",[],{},[]]],"decisions":{}}'}, "frob"),
        ({"workload": SOFTMAX}, "its program cannot be read"),
    ],
)
def test_what_cannot_be_built_again_is_stale_and_not_served(
    record: TuningRecord, workers: LocalWorkers, changes: dict, reason: str
) -> None:
    verdict, after, served = verified(replace(record, **changes), workers)
    assert verdict.trust is after.trust is Trust.STALE
    assert reason in verdict.reason
    assert served is None


def test_a_wrong_result_is_final(record: TuningRecord, workers: LocalWorkers) -> None:
    strict = MeasureConfig(min_samples=1, max_samples=1, tolerance=1e-30)
    with MemoryDatabase() as database:
        database.put(record)
        (verdict,) = verify(database, workers=workers, config=strict)
        assert verdict.trust is None
        assert verdict.reason.startswith("wrong result: ")
        assert database.best(PROGRAM, ms.Target("cpu")) is None
        database.put(record)
        assert [r.status for r in database.records()] == [Status.WRONG_RESULT]


def test_other_targets_are_left_alone(workers: LocalWorkers) -> None:
    other = make_record(0, workload=Workload.from_program(PROGRAM), target=ms.Target(cores=99))
    with MemoryDatabase() as database:
        database.put(other)
        assert verify(database, workers=workers) == ()
        assert list(database.records()) == [other]


def test_a_count_below_one_is_refused() -> None:
    with MemoryDatabase() as database, pytest.raises(UsageError, match="top is 0"):
        verify(database, top=0)
