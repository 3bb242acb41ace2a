from __future__ import annotations

import pickle
from typing import Any

import pytest

from metasched.errors import UsageError
from metasched.measure.records import (
    ArgSpec,
    Artefact,
    CompareRequest,
    MeasureConfig,
    RunRequest,
    Status,
)

A = ArgSpec("a", (2,), "float32", False)
KERNEL = Artefact("/x.so", "kernel", "abc", (A,), 0, 2.0)


def test_requests_travel_between_processes() -> None:
    request = RunRequest(1, KERNEL, KERNEL, config=MeasureConfig(warmup=2))
    assert pickle.loads(pickle.dumps(request)) == request


def test_statuses_are_text() -> None:
    assert Status("wrong_result") is Status.WRONG_RESULT
    assert f"{Status.OK}" == "ok"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"warmup": 0}, "warmup is 0, expected at least 1"),
        ({"min_samples": 5, "max_samples": 4}, "min_samples is 5 and max_samples 4"),
        ({"min_samples": 0}, "min_samples is 0"),
        ({"sample_s": 0.0}, "sample_s is 0.0, expected a positive number"),
        ({"run_timeout_s": float("nan")}, "run_timeout_s is nan"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MeasureConfig(**options)


def test_only_kernels_with_the_same_parameters_are_compared() -> None:
    renamed = Artefact("/y.so", "k", "d", (ArgSpec("x", (2,), "float32", False),), 0, 1.0)
    assert CompareRequest(1, (KERNEL, renamed)).rounds == 10
    other = Artefact("/y.so", "k", "d", (ArgSpec("a", (3,), "float32", False),), 0, 1.0)
    with pytest.raises(UsageError, match="parameters differ"):
        CompareRequest(1, (KERNEL, other))
    with pytest.raises(UsageError, match="0 artefacts and 10 rounds"):
        CompareRequest(1, ())
