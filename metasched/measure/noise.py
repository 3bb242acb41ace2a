"""How well this machine can time anything at all: the noise floor of a runner.

A fixed piece of arithmetic is timed as candidates are; what its samples differ by is no candidate's
doing. The floor goes with every result, so that whoever compares times knows what they can tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from metasched.measure.statistics import relative_half_width
from metasched.measure.timing import time_fixed_work

SAMPLES: Final = 12
"""As many as a candidate gets at most; a sample takes about as long as one of a candidate."""

_WARM_UP: Final = 2
_AGAIN_S: Final = 30.0
"""Seconds that a floor holds, since what else runs on a machine changes."""


class NoiseFloor:
    """The noise floor of this process, measured when it is asked for and too old.

    Args:
        time_work: times the work once and returns the seconds.
        clock: tells the seconds.

    >>> NoiseFloor(lambda: 1.0)()
    0.0
    """

    def __init__(
        self,
        time_work: Callable[[], float] = time_fixed_work,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._time_work, self._clock = time_work, clock
        self._floor = 0.0
        self._until: float | None = None

    def __call__(self) -> float:
        """Half the 95 % interval of the median of the fixed work, as a share of the median."""
        if self._until is None or self._clock() >= self._until:
            for _ in range(_WARM_UP):
                self._time_work()
            self._floor = relative_half_width([self._time_work() for _ in range(SAMPLES)])
            self._until = self._clock() + _AGAIN_S
        return self._floor
