"""The table of a soak: how often each primitive was applied in random schedules that ran clean.

The shards of `test_random_schedules` report their counts; these hooks add them up.
"""

from __future__ import annotations

import json
from collections import Counter

import pytest

from metasched.schedule.primitives import PRIMITIVES
from metasched.schedule.samplers import SAMPLERS

LEAST = 30
PAIRS = 5000
_TALLY = Counter[str]()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call":
        for name, value in report.user_properties:
            if name == "tally":
                _TALLY.update(json.loads(str(value)))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _TALLY and session.exitstatus == 0 and _lacking():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _TALLY:
        return
    terminalreporter.section("soak")
    terminalreporter.write_line(f"{_TALLY['pairs']} pairs")
    for name in sorted([*PRIMITIVES, *SAMPLERS]):
        terminalreporter.write_line(f"{name:28}{_TALLY[name]:8}")
    for line in _lacking():
        terminalreporter.write_line(f"too few: {line}")


def _lacking() -> list[str]:
    short = [f"{_TALLY['pairs']} pairs of {PAIRS}"] if _TALLY["pairs"] < PAIRS else []
    names = [*PRIMITIVES, *SAMPLERS]
    return short + [f"{n} applied {_TALLY[n]} times of {LEAST}" for n in names if _TALLY[n] < LEAST]
