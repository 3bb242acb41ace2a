from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metasched.measure import check
from metasched.measure.check import compare_outputs, stray_writes
from metasched.measure.inputs import make_arguments
from metasched.measure.records import ArgSpec


def compare(dtype: str, got: Any, want: Any, tolerance: float | None = None) -> check.Verdict:
    array = np.asarray(want)
    arg = ArgSpec("c", array.shape, dtype, True)
    return compare_outputs([arg], [np.asarray(got, array.dtype)], [array], tolerance)


WANT = np.linspace(-1, 1, 1001)


@pytest.mark.parametrize(("dtype", "limit"), [("float32", 1e-4), ("float64", 1e-9)])
def test_floats_may_differ_by_the_tolerance_of_their_dtype(dtype: str, limit: float) -> None:
    want = WANT.astype(dtype)
    inside = compare(dtype, want + np.asarray(0.4 * limit, dtype), want)
    assert inside.problem == ""
    assert 0 < inside.max_error <= inside.tolerance == limit
    outside = compare(dtype, want * (1 + 4 * limit), want)
    assert outside.max_error > limit
    assert "expected" in outside.problem


def test_sums_that_cancel_are_judged_by_the_magnitude_of_the_whole() -> None:
    want = np.array([1.0, -1.0, 0.0], np.float32)
    assert compare("float32", want + np.float32(1e-5), want).problem == ""


def test_the_worst_element_is_named() -> None:
    want = WANT.astype(np.float32).reshape(7, 143)
    got = want.copy()
    got[3, 5] += 1
    got[4, 4] += 2
    assert "'c'[4, 4] is " in compare("float32", got, want).problem


def test_blocks_agree_with_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    got, want = WANT.astype(np.float32), (WANT + 1e-3).astype(np.float32)
    whole = compare("float32", got, want)
    monkeypatch.setattr(check, "_BLOCK", 10)
    assert compare("float32", got, want).max_error == pytest.approx(whole.max_error)
    assert compare("float32", got, want).problem == whole.problem


@pytest.mark.parametrize(
    ("got", "want", "good"),
    [
        (np.nan, np.nan, True),
        (np.inf, np.inf, True),
        (np.nan, 1.0, False),
        (1.0, np.nan, False),
        (np.inf, -np.inf, False),
        (np.inf, 1.0, False),
        (0.0, 0.0, True),
        (-0.0, 0.0, True),
        (1e-30, 0.0, False),
    ],
)
def test_special_values(got: float, want: float, good: bool) -> None:
    verdict = compare("float32", [got], np.array([want], np.float32))
    assert (verdict.problem == "") is good


@pytest.mark.parametrize("dtype", ["int32", "uint8", "int64"])
def test_integers_must_agree(dtype: str) -> None:
    want = np.arange(10, dtype=dtype)
    assert compare(dtype, want, want) == check.Verdict(0.0, 0.0)
    got = want.copy()
    got[7] = 3
    assert compare(dtype, got, want, tolerance=0.5).problem == "'c'[7] is 3, expected 7"


def test_a_bool_that_is_neither_is_wrong() -> None:
    want = np.array([True, False])
    got = np.array([0x5B, 0], np.uint8).view(np.bool_)
    arg = ArgSpec("c", (2,), "bool", True)
    assert compare_outputs([arg], [got], [want]).problem == "'c'[0] is 91, expected 1"


def test_bfloat16_is_compared_by_value() -> None:
    want = np.array([0x3F80], np.uint16)
    near, far, poison = (np.array([bits], np.uint16) for bits in (0x3F81, 0x4000, 0x7FC0))
    assert compare("bfloat16", near, want).problem == ""
    assert compare("bfloat16", far, want).problem.startswith("'c'[0] is 2, expected 1")
    assert compare("bfloat16", poison, want).problem.startswith("'c'[0] is nan, expected 1")


def test_a_tolerance_can_be_chosen() -> None:
    want = np.ones(4, np.float32)
    assert compare("float32", want * np.float32(1.1), want, tolerance=0.1).problem == ""
    assert compare("float32", want * np.float32(1.1), want).problem != ""


def test_the_output_closest_to_its_limit_is_the_evidence() -> None:
    args = [ArgSpec("i", (1,), "int8", True), *(ArgSpec(n, (1,), "float32", True) for n in "xy")]
    want = [np.ones(1, np.int8), np.ones(1, np.float32), np.ones(1, np.float32)]
    got = [want[0], want[1] + np.float32(1e-4), want[2] + np.float32(1e-5)]
    verdict = compare_outputs(args, got, want)
    assert verdict.tolerance == 1e-4
    assert verdict.max_error == pytest.approx(5e-5, rel=0.01)


def test_stray_writes_are_named() -> None:
    args = (ArgSpec("a", (5,), "float32", False), ArgSpec("b", (5,), "float32", True))
    arguments = make_arguments(args, 0)
    arguments[1].array[:] = 1
    assert stray_writes(args, arguments) == ""
    arguments[0].array[2] += 1
    assert stray_writes(args, arguments) == "the kernel wrote to its input 'a'"
    arguments[0].memory[0] = 0
    assert "wrote outside of 'a' float32 (5,)" in stray_writes(args, arguments)
