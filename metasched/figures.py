"""Figures as people read them: times, rates, shares and plain tables.

Both the progress display and the command line print through here, so that they agree on units.
"""

from __future__ import annotations

from collections.abc import Sequence

NOTHING = "-"
"""What stands where there is no figure."""


def microseconds(time_s: float | None) -> str:
    """Seconds as microseconds with four significant digits.

    >>> microseconds(0.0012345), microseconds(2.6e-6), microseconds(None)
    ('1234', '2.600', '-')
    """
    if time_s is None:
        return NOTHING
    value = time_s * 1e6
    return f"{value:.0f}" if value >= 1000 else f"{value:#.4g}"


def gflops(flops: float, time_s: float | None) -> str:
    """Operations in a time as GFLOP/s.

    >>> gflops(2.0e9, 0.01)
    '200.0'
    """
    return NOTHING if not time_s else f"{flops / time_s / 1e9:.1f}"


def percent(share: float | None) -> str:
    """A share of one as per cent.

    >>> percent(0.853), percent(None)
    ('85 %', '-')
    """
    return NOTHING if share is None else f"{100 * share:.0f} %"


def ratio(value: float | None) -> str:
    """A ratio with three significant digits.

    >>> ratio(1.2345)
    '1.23'
    """
    if value is None:
        return NOTHING
    return f"{value:.5f}" if value < 0.001 else f"{value:#.3g}".rstrip(".")


def seconds(time_s: float | None) -> str:
    """A wall clock as seconds or minutes.

    >>> seconds(7.25), seconds(83), seconds(0.04)
    ('7.2 s', '1:23 min', '0.04 s')
    """
    if time_s is None:
        return NOTHING
    if time_s < 60:
        return f"{time_s:.2g} s" if time_s < 1 else f"{time_s:.1f} s"
    return f"{int(time_s) // 60}:{int(time_s) % 60:02d} min"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns: the first to the left, the others to the right.

    >>> print(table(("name", "us"), [("a", "10.0"), ("long", "7")]))
    name    us
    a     10.0
    long     7
    """
    widths = [max(len(row[k]) for row in (header, *rows)) for k in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    )
