"""What pages register is gone after them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from metasched.registry import registries


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Take members off that a page registered, since other tests go through all members."""
    before = {id(registry): set(registry) for registry in registries()}
    yield
    for registry in registries():
        for name in set(registry) - before.get(id(registry), set()):
            del registry._members[name], registry._origins[name]
