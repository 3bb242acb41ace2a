"""Holds the tests of preconditions to the wording of the *Requires* lists; the table of a soak."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from metasched.errors import ScheduleError
from metasched.schedule import refusal
from tests.core.schedule.soak import pytest_runtest_logreport as pytest_runtest_logreport
from tests.core.schedule.soak import pytest_sessionfinish as pytest_sessionfinish
from tests.core.schedule.soak import pytest_terminal_summary as pytest_terminal_summary
from tests.core.schedule.wording import bare_slug, is_named, refused_rule, requirement_slugs


@pytest.fixture(autouse=True)
def _refusals_are_worded_as_required(  # pyright: ignore[reportUnusedFunction]
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Each ``test_requires_`` test, *Requires* line and message agree, and there is a remedy."""
    name = str(request.node.originalname) if isinstance(request.node, pytest.Function) else ""
    if not name.startswith("test_requires_"):
        yield
        return
    told: list[tuple[str, str]] = []
    bare: list[str] = []

    class Recorded(ScheduleError):
        def __init__(self, message: str) -> None:
            super().__init__(message)
            told.append(refused_rule(message))
            if "\nhint: " not in message:
                bare.append(message.partition("\n")[0])

    monkeypatch.setattr(refusal, "ScheduleError", Recorded)
    yield
    assert not bare, f"a refusal names the usual remedy (see schedule/remedies.py): {bare}"
    for kind, rule in told:
        for slug in requirement_slugs(kind):
            if is_named(name, slug) and bare_slug(rule).startswith(slug):
                return
    pytest.fail(f"{name} should be named and refused as in a Requires line, was refused as {told}")
