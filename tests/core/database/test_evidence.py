from __future__ import annotations

import pytest

from metasched.database.evidence import evidence_of
from metasched.database.records import passes
from metasched.measure.records import RunResult, Status
from metasched.testing.database_records import make_record


def test_a_run_gives_its_evidence() -> None:
    run = RunResult(
        1, Status.OK, samples_s=(1.0, 1.1, 0.9), max_error=1e-6, tolerance=1e-4, noise_floor=0.01
    )
    evidence = evidence_of(run, reference_hash="abc", seed=3, toolchain="gcc 99")
    assert evidence == {
        "reference_hash": "abc",
        "seed": 3,
        "tolerance": 1e-4,
        "max_error": 1e-6,
        "noise": pytest.approx(0.1),
        "noise_floor": 0.01,
        "toolchain": "gcc 99",
    }
    assert passes(evidence)
    assert make_record(evidence=evidence).noise_floor == 0.01


def test_a_run_that_failed_proves_nothing() -> None:
    evidence = evidence_of(
        RunResult(1, Status.RUN_ERROR), reference_hash=None, seed=0, toolchain="gcc 99"
    )
    assert not passes(evidence)
    assert (evidence["noise"], evidence["noise_floor"]) == (None, None)


@pytest.mark.parametrize("floor", [None, "much", float("nan"), -1.0])
def test_a_floor_that_is_none_counts_as_nothing(floor: object) -> None:
    assert make_record(evidence={"noise_floor": floor}).noise_floor == 0.0
