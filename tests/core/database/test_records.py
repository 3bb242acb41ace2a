from __future__ import annotations

from datetime import datetime
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metasched.database.records import JobRecord, TuningRecord, merge_records, merge_samples, now
from metasched.errors import UsageError
from metasched.measure.records import Status
from metasched.testing.database_records import EVIDENCE, make_failure, make_record

samples = st.lists(st.sampled_from((1.0, 2.0, 3.0)), max_size=5).map(tuple)


@st.composite
def records(draw: st.DrawFn) -> TuningRecord:
    """Draw records of one candidate: any outcome, with or without samples and a proof."""
    error = draw(st.sampled_from((0.0, 1.0)))
    return make_record(
        status=draw(st.sampled_from(Status)),
        samples_s=draw(samples),
        evidence={**EVIDENCE, "max_error": error},
    )


def test_time_is_the_median() -> None:
    assert make_record(samples_s=(3.0, 1.0, 2.0, 10.0)).time_s == median((3.0, 1.0, 2.0, 10.0))
    assert make_record(samples_s=()).time_s is None


@pytest.mark.parametrize("sample", [-1e-9, float("nan"), float("inf")])
def test_a_sample_that_is_no_time_is_refused(sample: float) -> None:
    with pytest.raises(UsageError, match="expected finite seconds of at least zero"):
        make_record(samples_s=(1.0, sample))


@pytest.mark.parametrize("timer", [-1.0, float("nan")])
def test_a_timer_that_is_no_time_is_refused(timer: float) -> None:
    with pytest.raises(UsageError, match=r"timers has .*; expected finite seconds"):
        make_record(timers={"run": timer})


def test_a_message_becomes_text() -> None:
    message = b"ld: caf\xe9\0".decode(errors="surrogateescape")
    assert make_record(message=message).message == "ld: caf?\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, 1j])
def test_settings_that_are_not_json_are_refused(value: object) -> None:
    with pytest.raises(UsageError, match=r"job settings are no JSON values: .*; give plain ones"):
        JobRecord("id", now(), settings={"a": value})


def test_settings_are_kept_as_json_has_them() -> None:
    assert JobRecord("id", now(), settings={"a": (1, 2)}).settings == {"a": [1, 2]}


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(UsageError, match="has no time zone; use"):
        make_record(created_at=datetime(2024, 1, 1))


def test_non_finite_evidence_becomes_none() -> None:
    record = make_record(evidence={**EVIDENCE, "max_error": float("inf")})
    assert record.evidence["max_error"] is None
    assert not record.is_servable


@given(records(), records())
def test_merging_again_changes_nothing(old: TuningRecord, new: TuningRecord) -> None:
    merged = merge_records(old, new)
    assert merge_records(merged, new) == merged


@given(samples, samples)
def test_merged_samples_hold_both_runs(old: tuple[float, ...], new: tuple[float, ...]) -> None:
    merged = merge_samples(old, new)
    assert max(len(old), len(new)) <= len(merged) <= len(old) + len(new)
    assert set(merged) == {*old, *new}
    assert merge_samples(merged, new) == merge_samples(merged, old) == merged


def test_evidence_that_passes_is_kept() -> None:
    unproved, proved = make_record(samples_s=(1.0,), evidence={}), make_record(samples_s=(2.0,))
    for old, new in ((unproved, proved), (proved, unproved)):
        merged = merge_records(old, new)
        assert merged.evidence == EVIDENCE
        assert sorted(merged.samples_s) == [1.0, 2.0]


def test_a_later_failure_replaces_an_earlier_one() -> None:
    lost, crashed = make_failure(0, Status.LOST), make_failure(0, Status.RUN_ERROR)
    assert merge_records(lost, crashed) == crashed
