"""The display is fed with snapshots as a job makes them, with tasks that only hold figures."""

import doctest
import io
from types import SimpleNamespace
from typing import Any, cast

import pytest

from metasched import ops, progress
from metasched.progress import LiveDisplay, PlainLines, display, share_of_peak
from metasched.target import Target

PEAKS = {"float32": 100e9}
PROGRAM = ops.matmul(m=64, n=64, k=64)


def snapshot(best_s: float | None, trials: int = 1, **task: Any) -> Any:
    """What a job observes, reduced to what displays read."""
    values = {
        "program": PROGRAM,
        "workload": SimpleNamespace(hash=task.pop("hash", "h")),
        "target": Target("cpu"),
        "trials": trials,
        "best_s": best_s,
        "baseline_s": 2e-5,
        "flops": 524288.0,
        "failures": task.pop("failures", {}),
    }
    return SimpleNamespace(
        task=SimpleNamespace(**values, **task),
        tasks=1,
        trials=trials,
        budget=8,
        elapsed_s=1.5,
        building=2,
        running=1,
        phases={"build": 1.0, "run": 2.0},
        workers="2 of 3 hosts, 8 builders 90 % busy",
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_examples_of_the_docstrings_hold() -> None:
    assert doctest.testmod(progress).failed == 0


def test_plain_lines_report_improvements_and_the_end() -> None:
    out = io.StringIO()
    lines = PlainLines(PEAKS, out)
    for trials, best in [(1, 2e-5), (2, 2e-5), (3, 1e-5), (4, 1e-5), (5, 1e-5)]:
        lines.show(snapshot(best, trials))
    lines.close()
    printed = out.getvalue().splitlines()
    assert [line.split()[0] for line in printed] == ["1/8", "3/8", "5/8"]
    assert "best 10.00 us (52.4 GFLOP/s, 52 % of the peak, 2.00 times" in printed[-1]


def test_plain_lines_close_without_a_snapshot_prints_nothing() -> None:
    out = io.StringIO()
    PlainLines(PEAKS, out).close()
    assert out.getvalue() == ""


def test_plain_lines_say_when_there_is_no_result() -> None:
    out = io.StringIO()
    PlainLines(PEAKS, out).show(snapshot(None, failures={"build_error": 3}))
    lines = PlainLines(PEAKS, out)
    lines.show(snapshot(None, failures={"build_error": 3}))
    lines.close()
    assert "has no result yet" in out.getvalue()
    assert "failed: 3 build_error" in out.getvalue()


def test_the_live_display_shows_every_program_and_the_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    out = Terminal()
    live = LiveDisplay(PEAKS, out)
    live.show(snapshot(1e-5, 2))
    live.show(snapshot(4e-5, 3, hash="other", failures={"wrong_result": 1}))
    live.close()
    text = out.getvalue()
    for expected in ("10.00", "40.00", "52 %", "2.00", "3/8 trials", "1 wrong_result", "run 2.0 s"):
        assert expected in text
    assert "building 2, running 1" in text
    assert "2 of 3 hosts, 8 builders 90 % busy" in text


@pytest.mark.parametrize(("out", "live"), [(io.StringIO(), False), (Terminal(), True)])
def test_the_display_follows_the_stream(
    monkeypatch: pytest.MonkeyPatch, out: io.StringIO, live: bool
) -> None:
    monkeypatch.setattr(progress, "peak_rates", lambda _: PEAKS)
    with display(Target("cpu"), out) as show:
        show(cast(Any, snapshot(1e-5)))
    assert ("us (" in out.getvalue()) is not live
    assert "best" in out.getvalue()


def test_the_share_of_the_peak_needs_a_peak_of_the_dtype() -> None:
    assert share_of_peak(PROGRAM, 1e6, 1e-4, PEAKS) == pytest.approx(0.1)
    assert share_of_peak(PROGRAM, 1e6, None, PEAKS) is None
    whole = ops.matmul(m=8, n=8, k=8, dtype="int8", acc_dtype="int32")
    assert share_of_peak(whole, 1e6, 1e-4, PEAKS) is None
