"""What is stored or exchanged is text that is checked; nothing in it can be executed."""

from __future__ import annotations

import re
from pathlib import Path

import metasched_db
import pytest

import metasched.database
import metasched.interchange

PACKAGES = (metasched_db, metasched.database, metasched.interchange)
EXECUTES = re.compile(r"\b(pickle|marshal|shelve|cloudpickle|eval\(|exec\()")


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_nothing_read_is_executed(package: object) -> None:
    folder = Path(str(getattr(package, "__file__"))).parent  # noqa: B009
    sources = sorted(folder.rglob("*.py"))
    assert len(sources) > 3
    found = [p.name for p in sources if EXECUTES.search(p.read_text())]
    assert found == []
