"""What a bench came to: figures by operator and entrant, ratios and their geometric means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import median
from typing import Any

from metasched import figures
from metasched.cli.bench.entrants import OWN


@dataclass(frozen=True, slots=True)
class Side:
    """One entrant in one case.

    Attributes:
        name: the entrant.
        about: its version and settings.
        samples_s: seconds of a call, one figure for each round.
        tuning_s: wall clock of its tuning; None where it did not tune now.
        max_error: largest error against NumPy, as the measurement defines it.
        error: why there are no samples, else empty.
    """

    name: str
    about: str = ""
    samples_s: tuple[float, ...] = ()
    tuning_s: float | None = None
    max_error: float | None = None
    error: str = ""

    @property
    def time_s(self) -> float | None:
        """Median seconds of a call."""
        return median(self.samples_s) if self.samples_s else None

    def to_dict(self) -> dict[str, Any]:
        """The side as JSON values."""
        return {
            "about": self.about,
            "time_s": self.time_s,
            "samples_s": list(self.samples_s),
            "tuning_s": self.tuning_s,
            "max_error": self.max_error,
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class CaseResult:
    """All entrants in one case.

    Attributes:
        name: of the case.
        flops: operations of one call.
        peak_flops: what the machine does at best in a second; None where unknown.
        sides: the entrants that took part, metasched first.
        measured: candidates that metasched measured now.
        failures: its failed candidates by status.
        baseline_s: seconds of the default schedule; None where it was not measured now.
    """

    name: str
    flops: float
    peak_flops: float | None
    sides: tuple[Side, ...]
    measured: int = 0
    failures: tuple[tuple[str, int], ...] = ()
    baseline_s: float | None = None

    def side(self, name: str) -> Side | None:
        """The entrant of a name, if it took part."""
        return next((side for side in self.sides if side.name == name), None)

    def ratio(self, name: str) -> float | None:
        """The time of metasched's kernel by the time of another's: below 1 it is faster.

        The median over the rounds, in each of which both had a turn: a machine that is slow for
        seconds is so for both.
        """
        own, other = self.side(OWN), self.side(name)
        if own is None or other is None or not own.samples_s or not other.samples_s:
            return None
        return median(a / b for a, b in zip(own.samples_s, other.samples_s, strict=True))

    @property
    def share_of_peak(self) -> float | None:
        """The rate of metasched's kernel as a share of the peak."""
        own = self.side(OWN)
        if own is None or own.time_s is None or self.peak_flops is None:
            return None
        return self.flops / own.time_s / self.peak_flops

    def to_dict(self) -> dict[str, Any]:
        """The case as JSON values."""
        return {
            "name": self.name,
            "flops": self.flops,
            "share_of_peak": self.share_of_peak,
            "measured": self.measured,
            "failures": dict(self.failures),
            "baseline_s": self.baseline_s,
            "sides": {side.name: side.to_dict() for side in self.sides},
            "ratios": {s.name: self.ratio(s.name) for s in self.sides if s.name != OWN},
        }


def geometric_mean(values: Sequence[float]) -> float | None:
    """The geometric mean; None of nothing.

    >>> geometric_mean([0.5, 2.0])
    1.0
    """
    return exp(sum(map(log, values)) / len(values)) if values else None


def mean_ratio(results: Sequence[CaseResult], name: str) -> float | None:
    """The geometric mean of the ratios to one entrant, over the cases that have both."""
    ratios = [result.ratio(name) for result in results]
    return geometric_mean([ratio for ratio in ratios if ratio is not None])


def render(results: Sequence[CaseResult], names: Sequence[str]) -> str:
    """All cases as a table, then tuning times, geometric means and what failed.

    Args:
        results: the cases.
        names: the other entrants.
    """
    header = ["operator", "us", "GFLOP/s", "of peak"]
    for name in names:
        header += [f"{name} us", "ratio"]
    header += ["tuned in", *(f"{name} tuned in" for name in names if name == "tvm")]
    means = [f"  {name}: {figures.ratio(mean_ratio(results, name))}" for name in names]
    notes = [
        f"  {result.name}, {side.name}: {side.error}"
        for result in results
        for side in result.sides
        if side.error
    ]
    return "\n".join(
        [
            figures.table(header, [_row(result, names) for result in results]),
            *(
                ["time of metasched by time of the other, geometric means:", *means]
                if names
                else ()
            ),
            *(["without a figure:", *notes] if notes else ()),
        ]
    )


def _row(result: CaseResult, names: Sequence[str]) -> list[str]:
    own = result.side(OWN)
    time_s = own.time_s if own else None
    row = [
        result.name,
        figures.microseconds(time_s),
        figures.gflops(result.flops, time_s),
        figures.percent(result.share_of_peak),
    ]
    for name in names:
        other = result.side(name)
        row.append(figures.microseconds(other.time_s if other else None))
        row.append(figures.ratio(result.ratio(name)))
    row.append(figures.seconds(own.tuning_s if own else None))
    for name in names:
        if name == "tvm":
            other = result.side(name)
            row.append(figures.seconds(other.tuning_s if other else None))
    return row
