from __future__ import annotations

from collections.abc import Callable

import pytest

from metasched.measure import timing
from metasched.measure.records import MeasureConfig
from metasched.measure.timing import repeats_for, take_samples


class FakeKernel:
    """A kernel whose calls take given times, on a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cost: Callable[[int], float]) -> None:
        self.cost = cost
        self.clock = 0.0
        self.series: list[int] = []
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.clock)

    def __call__(self, repeats: int) -> float:
        spent = repeats * self.cost(len(self.series))
        self.series.append(repeats)
        self.clock += spent
        return spent


def never() -> int:
    return 0


def test_a_steady_fast_kernel_takes_few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel(monkeypatch, lambda index: 1e-6)
    samples, dropped = take_samples(kernel, MeasureConfig(sample_s=2e-3), interruptions=never)
    assert samples == pytest.approx((1e-6,) * 3)
    assert not dropped
    assert kernel.series[-3:] == pytest.approx([2000] * 3, abs=1)
    assert kernel.clock < 0.01


def test_a_slow_kernel_is_called_twice_and_no_call_is_wasted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = FakeKernel(monkeypatch, lambda index: 0.06)
    samples, _ = take_samples(kernel, MeasureConfig(max_total_s=0.1), interruptions=never)
    assert samples == pytest.approx((0.06, 0.06))
    assert kernel.series == [1, 1]


def test_a_wild_kernel_is_sampled_until_the_time_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel(monkeypatch, lambda index: 0.004 * (1 + index % 5))
    config = MeasureConfig(max_total_s=0.05, max_samples=100)
    samples, _ = take_samples(kernel, config, interruptions=never)
    assert 0.05 <= kernel.clock < 0.1
    assert len(samples) == len(kernel.series)


def test_a_time_below_the_resolution_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel(monkeypatch, lambda index: 0.0)
    samples, _ = take_samples(kernel, MeasureConfig(max_samples=3), interruptions=never)
    assert samples == (0.0, 0.0, 0.0)
    assert max(kernel.series) == 1 << 24


def test_a_short_hopeless_kernel_gets_a_second_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel(monkeypatch, lambda index: 0.01 if index == 0 else 0.001)
    samples, dropped = take_samples(kernel, MeasureConfig(), 0.001, interruptions=never)
    assert not dropped
    assert len(samples) > 2


def test_a_hopeless_kernel_keeps_the_one_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel(monkeypatch, lambda index: 0.05)
    samples, dropped = take_samples(kernel, MeasureConfig(), 0.001, interruptions=never)
    assert samples == pytest.approx((0.05,))
    assert dropped


def test_disturbed_samples_are_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel(monkeypatch, lambda index: 0.02 if index in (1, 2) else 0.01)

    def interruptions() -> int:
        return min(max(len(kernel.series) - 1, 0), 2)

    config = MeasureConfig(max_total_s=1.0)
    samples, _ = take_samples(kernel, config, interruptions=interruptions)
    assert samples == pytest.approx((0.01,) * 3)
    assert len(kernel.series) == 5


def test_a_disturbed_sample_alone_drops_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel(monkeypatch, lambda index: 0.05 if index == 0 else 0.01)
    config = MeasureConfig(max_total_s=1.0)
    _, dropped = take_samples(
        kernel, config, 0.01, interruptions=lambda: min(len(kernel.series), 1)
    )
    assert not dropped


def test_on_a_busy_machine_all_samples_count_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel(monkeypatch, lambda index: 0.01)
    config = MeasureConfig(max_total_s=0.1)
    samples, _ = take_samples(kernel, config, interruptions=lambda: len(kernel.series))
    assert len(samples) == len(kernel.series) == 20


def test_flushing_means_one_call_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel(monkeypatch, lambda index: 1e-6)
    assert repeats_for(kernel, MeasureConfig(flush=True)) == 1
    assert kernel.series == []
