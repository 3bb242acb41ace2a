"""Plots of a job's progress: the best time over the trials, as text for a terminal or as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from metasched import figures
from metasched.database import TuningRecord

_WIDTH: Final = 60
_HEIGHT: Final = 8
_SVG_WIDTH: Final = 640
_SVG_HEIGHT: Final = 200
_MARGIN: Final = 60


@dataclass(frozen=True, slots=True)
class Curve:
    """The progress of one program in one job.

    Attributes:
        name: of the program.
        trials: candidates in all.
        failed: those of them that failed.
        steps: ``(trial, best seconds)`` at each improvement.
    """

    name: str
    trials: int
    failed: int
    steps: tuple[tuple[int, float], ...]

    def at(self, trial: int) -> float | None:
        """The best seconds after so many trials, None before the first."""
        return next((s for n, s in reversed(self.steps) if n <= trial), None)


def curves(records: Iterable[TuningRecord]) -> list[Curve]:
    """The curves of a job's records, by workload, in the order the workloads began.

    Finalists are measured again under the same record, so a curve shows what they came to.
    """
    groups: dict[str, list[TuningRecord]] = {}
    for record in sorted(records, key=lambda record: record.created_at):
        groups.setdefault(record.workload.hash, []).append(record)
    return [_curve(group) for group in groups.values()]


def _curve(records: Sequence[TuningRecord]) -> Curve:
    steps: list[tuple[int, float]] = []
    for trial, record in enumerate(records, start=1):
        time_s = record.time_s if record.is_servable else None
        if time_s is not None and (not steps or time_s < steps[-1][1]):
            steps.append((trial, time_s))
    failed = sum(not record.is_servable for record in records)
    return Curve(records[0].workload.name, len(records), failed, tuple(steps))


def as_text(title: str, lines: Sequence[Curve]) -> str:
    """Curves one below the other, the time on a scale of ratios."""
    return "\n\n".join((f"job {title}", *map(_text_of, lines)))


def _text_of(curve: Curve) -> str:
    head = f"{curve.name}: {curve.trials} trials, {curve.failed} without a time"
    if not curve.steps:
        return head
    first, last = curve.steps[0][1], curve.steps[-1][1]
    rows = [[" "] * _WIDTH for _ in range(_HEIGHT)]
    for column in range(_WIDTH):
        best = curve.at(max(1, round((column + 1) * curve.trials / _WIDTH)))
        if best is not None:
            rows[round((_HEIGHT - 1) * (1 - _share(best, first, last)))][column] = "█"
    labels = {
        0: f"{figures.microseconds(first)} us",
        _HEIGHT - 1: f"{figures.microseconds(last)} us",
    }
    body = [f"{labels.get(n, ''):>14} │{''.join(row).rstrip()}" for n, row in enumerate(rows)]
    return "\n".join((head, *body, f"{'':14} └{'─' * _WIDTH} {curve.trials}"))


def _share(best: float, first: float, last: float) -> float:
    """Where a time lies between the last (0) and the first (1), by their logarithms."""
    return math.log(best / last) / math.log(first / last) if first > last > 0 else 0.0


def as_svg(title: str, lines: Sequence[Curve]) -> str:
    """Curves one below the other in an SVG document."""
    height = 40 + (_SVG_HEIGHT + 60) * len(lines)
    width = _SVG_WIDTH + 2 * _MARGIN
    parts = [f'<text x="{_MARGIN}" y="24" font-size="16">job {escape(title)}</text>']
    for number, curve in enumerate(lines):
        parts.append(f'<g transform="translate({_MARGIN},{60 + number * (_SVG_HEIGHT + 60)})">')
        parts += [*_svg_of(curve), "</g>"]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _svg_of(curve: Curve) -> Iterable[str]:
    head = f"{curve.name}: {curve.trials} trials, {curve.failed} without a time"
    yield f'<text y="-8">{escape(head)}</text>'
    yield f'<path d="M0,0V{_SVG_HEIGHT}H{_SVG_WIDTH}" fill="none" stroke="#888"/>'
    yield f'<text x="{_SVG_WIDTH}" y="{_SVG_HEIGHT + 16}" text-anchor="end">{curve.trials}</text>'
    if not curve.steps:
        return
    first, last = curve.steps[0][1], curve.steps[-1][1]
    points: list[str] = []
    for trial, best in curve.steps:
        x = _SVG_WIDTH * trial / curve.trials
        y = _SVG_HEIGHT * (1 - _share(best, first, last))
        points.append(f"{'H' if points else 'M'}{x:.1f}{'' if points else f',{y:.1f}'}")
        points.append(f"V{y:.1f}")
    points.append(f"H{_SVG_WIDTH}")
    yield f'<path d="{"".join(points)}" fill="none" stroke="#06c" stroke-width="2"/>'
    for y, time_s in ((0, first), (_SVG_HEIGHT, last)):
        label = f"{figures.microseconds(time_s)} us"
        yield f'<text x="-4" y="{y + 4}" text-anchor="end">{label}</text>'
