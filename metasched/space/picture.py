"""A report of a space as an SVG picture: candidates by sampling step, and what is accepted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from typing import Final, TypeAlias

from metasched.space.report import SketchReport, SpaceReport, StageReport

_WIDTH: Final = 560
_LABEL: Final = 240
_ROW: Final = 22
_COLOURS: Final = {
    "sample_perfect_tile": "#4878a8",
    "sample_partitioned_tile": "#6a9fb5",
    "sample_categorical": "#e1a03c",
    "sample_compute_location": "#9d6aa8",
}
_ACCEPTED: Final = "#5a9e6f"
_REJECTED: Final = "#d9d9d9"

Bar: TypeAlias = "tuple[float, str, str]"
"""Length as a share of the width, colour, and what it says when pointed at."""


def to_svg(report: SpaceReport) -> str:
    """A document with a bar for each sketch, rule and postprocessor.

    The bar of a sketch is as long as the logarithm of its size, with a part for each site.
    """
    rows = list(_rows(report))
    height = 48 + _ROW * len(rows)
    body = "\n".join(_row(56 + _ROW * n, *row) for n, row in enumerate(rows))
    title = escape(f"{report.program}: {report.size} candidates, {report.target}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LABEL + _WIDTH + 180}" '
        f'height="{height}" font-family="sans-serif" font-size="12">\n'
        '<rect width="100%" height="100%" fill="white"/>\n'
        f'<text x="8" y="22" font-size="16">{title}</text>\n{body}\n</svg>\n'
    )


def _rows(report: SpaceReport) -> Iterator[tuple[str, list[Bar], str]]:
    """Label, bars and note of each line; a line without bars is a heading."""
    longest = max([_log_size(sketch) for sketch in report.sketches], default=0.0)
    yield "sketches: candidates by site, log scale", [], ""
    for number, sketch in enumerate(report.sketches):
        note = f"{sketch.size}, {sketch.accepted} of {sketch.samples} accepted"
        yield f"sketch {number}", _site_bars(sketch, longest), note
    yield "rules: share of samples that got through their steps", [], ""
    for stage in report.rules:
        yield stage.name, _share_bars(stage), _reason(stage)
    yield "postprocessors: share of samples that they accepted", [], ""
    for stage in report.postprocs:
        yield stage.name, _share_bars(stage), _reason(stage)


def _log_size(sketch: SketchReport) -> float:
    return sum(math.log10(max(site.size, 1)) for site in sketch.sites)


def _site_bars(sketch: SketchReport, longest: float) -> list[Bar]:
    bars: list[Bar] = [
        (math.log10(site.size) / longest, _COLOURS.get(site.kind, "#888888"), str(site))
        for site in sketch.sites
        if site.size > 1
    ]
    return bars or [(0.004, "#888888", "no choice")]


def _share_bars(stage: StageReport) -> list[Bar]:
    share = stage.acceptance or 0.0
    text = str(stage)
    return [(share, _ACCEPTED, text), (1.0 - share, _REJECTED, text)]


def _reason(stage: StageReport) -> str:
    of, taken = (stage.drawn, stage.replayed) if stage.drawn else (stage.visits, stage.applied)
    return f"{taken} of {of}"


def _row(y: int, label: str, bars: list[Bar], note: str) -> str:
    if not bars:
        return f'<text x="8" y="{y}" font-weight="bold">{escape(label)}</text>'
    parts = [f'<text x="{_LABEL - 8}" y="{y}" text-anchor="end">{escape(label)}</text>']
    x = float(_LABEL)
    for share, colour, text in bars:
        width = share * _WIDTH
        parts.append(
            f'<rect x="{x:.1f}" y="{y - 12}" width="{width:.1f}" height="15" fill="{colour}" '
            f'stroke="white"><title>{escape(text)}</title></rect>'
        )
        x += width
    parts.append(f'<text x="{x + 6:.1f}" y="{y}">{escape(note)}</text>')
    return "".join(parts)
