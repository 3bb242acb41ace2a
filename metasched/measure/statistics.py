"""When enough samples of a running time have been taken: pure functions of the samples.

`timing` takes the samples. The interval is distribution-free, because running times are not
normal: interference only ever adds time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import median

from metasched.measure.records import MeasureConfig

_CONFIDENCE = 0.95


def median_interval(samples: Sequence[float]) -> tuple[float, float]:
    """Return order statistics that enclose the median with 95 % confidence.

    Below six samples no pair of them does; then the extremes are returned.

    >>> median_interval([3.0, 1.0, 2.0])
    (1.0, 3.0)
    """
    ordered = sorted(samples)
    rank = _rank(len(ordered))
    return ordered[rank], ordered[-1 - rank]


def relative_half_width(samples: Sequence[float]) -> float:
    """Return half the width of the median's interval as a share of the median.

    >>> relative_half_width([1.0, 1.0, 1.0])
    0.0
    """
    low, high = median_interval(samples)
    middle = median(samples)
    return (high - low) / 2 / middle if middle > 0 else math.inf


def repeats_per_sample(call_s: float, config: MeasureConfig) -> int:
    """Return how many calls one sample needs, given an estimate of one call in seconds.

    An estimate below the clock's resolution gives many repeats and is no error.
    """
    if config.flush:
        return 1
    return max(1, math.ceil(config.sample_s / max(call_s, 1e-9)))


def is_hopeless(sample_s: float, incumbent_s: float | None, config: MeasureConfig) -> bool:
    """Whether a sample is so much worse than the best time so far that timing can end."""
    return incumbent_s is not None and sample_s > config.drop_factor * incumbent_s


def is_decided(samples: Sequence[float], spent_s: float, config: MeasureConfig) -> bool:
    """Whether the samples are enough: their spread is small, or their time or number is spent."""
    count = len(samples)
    if count >= config.max_samples:
        return True
    if spent_s >= config.max_total_s and count >= min(2, config.max_samples):
        return True
    return count >= config.min_samples and relative_half_width(samples) <= config.half_width


@lru_cache(maxsize=256)
def _rank(count: int) -> int:
    """Return the largest r for which the r-th smallest and r-th largest still enclose enough.

    Both tails of the binomial distribution with probability one half hold the misses.
    """
    tail, rank = 0.0, 0
    for r in range(count // 2):
        tail += math.comb(count, r) / 2.0**count
        if 2 * tail > 1 - _CONFIDENCE:
            break
        rank = r
    return rank
