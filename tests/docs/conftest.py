"""What pages register is gone after them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.registries import own_members


@pytest.fixture(autouse=True)
def as_fresh() -> Iterator[None]:
    """Have the members of a fresh process, and leave none behind."""
    with own_members():
        yield
