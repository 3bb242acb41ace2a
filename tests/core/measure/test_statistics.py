from __future__ import annotations

import math
import random
from statistics import median

import pytest

from metasched.measure import statistics
from metasched.measure.records import MeasureConfig
from metasched.measure.statistics import (
    is_decided,
    is_hopeless,
    median_interval,
    relative_half_width,
    repeats_per_sample,
)


def test_the_interval_of_few_samples_is_their_range() -> None:
    for count in range(1, 9):
        assert median_interval(list(range(count))) == (0, count - 1)


@pytest.mark.parametrize(("count", "rank"), [(9, 1), (12, 2), (15, 3), (20, 5), (100, 39)])
def test_the_interval_of_many_samples_drops_as_many_as_it_may(count: int, rank: int) -> None:
    assert median_interval(list(range(count))) == (rank, count - 1 - rank)
    misses = sum(math.comb(count, r) for r in range(rank + 1)) / 2**count
    assert 2 * misses <= 0.05


def test_the_interval_covers_the_median_as_often_as_it_says() -> None:
    rng = random.Random(0)
    covered = 0
    for _ in range(2000):
        low, high = median_interval([rng.expovariate(1.0) for _ in range(12)])
        covered += low <= math.log(2) <= high
    assert covered / 2000 >= 0.95


def test_one_outlier_among_many_does_not_widen_the_interval() -> None:
    assert relative_half_width([1.0] * 8 + [9.0]) == 0.0
    assert relative_half_width([1.0, 1.0, 1.2]) == pytest.approx(0.1)
    assert relative_half_width([0.0, 0.0]) == math.inf


def test_fast_kernels_are_repeated_within_a_sample() -> None:
    config = MeasureConfig(sample_s=2.0**-10)
    assert repeats_per_sample(0.06, config) == 1
    assert repeats_per_sample(2.0**-20, config) == 1024
    assert repeats_per_sample(2.0**-20 * 1.001, config) == 1023
    assert 900_000 < repeats_per_sample(0.0, config) < 1_000_000
    assert repeats_per_sample(1e-6, MeasureConfig(flush=True)) == 1


def test_sampling_ends_when_it_is_decided_or_the_means_are_spent() -> None:
    config = MeasureConfig(min_samples=3, max_samples=5, half_width=0.02, max_total_s=0.1)
    steady, wild = [1.0, 1.01, 1.0], [1.0, 1.5, 2.0]
    assert is_decided(steady, 0.0, config)
    assert not is_decided(steady[:2], 0.0, config)
    assert not is_decided(wild, 0.0, config)
    assert is_decided([*wild, 3.0, 4.0], 0.0, config)
    assert is_decided(wild[:2], 0.1, config)
    assert not is_decided(wild[:1], 9.0, config)


def test_one_sample_may_be_asked_for() -> None:
    config = MeasureConfig(min_samples=1, max_samples=1)
    assert not is_decided([], 9.0, config)
    assert is_decided([1.0], 0.0, config)


def test_only_what_is_far_behind_the_incumbent_is_hopeless() -> None:
    config = MeasureConfig(drop_factor=3.0)
    assert is_hopeless(3.1, 1.0, config)
    assert not is_hopeless(2.9, 1.0, config)
    assert not is_hopeless(1e9, None, config)


def test_the_median_lies_in_its_interval() -> None:
    rng = random.Random(1)
    for count in range(1, 60):
        samples = [rng.random() for _ in range(count)]
        low, high = median_interval(samples)
        assert low <= median(samples) <= high
    statistics._rank.cache_clear()
