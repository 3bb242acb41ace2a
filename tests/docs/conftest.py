"""What pages register is gone after them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from metasched.registry import OWN, registries


@pytest.fixture(autouse=True)
def own_members() -> Iterator[None]:
    """Take members off that a page registered, since other tests go through all members."""
    yield
    for registry in registries():
        for name in list(registry):
            if registry.origin(name).partition(".")[0] not in (*OWN, "tests"):
                del registry._members[name], registry._origins[name]
