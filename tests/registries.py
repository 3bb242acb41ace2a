"""Registries as a fresh process has them, since tests register members of their own."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from metasched.registry import OWN, Registry, registries


@contextmanager
def own_members() -> Generator[None]:
    """Hide what others registered, and take off afterwards what was registered meanwhile."""
    hidden = _taken()
    yield
    _taken()
    for registry, name, member, origin in hidden:
        registry._members[name], registry._origins[name] = member, origin


def _taken() -> list[tuple[Registry[Any], str, Any, str]]:
    return [
        (registry, name, registry._members.pop(name), registry._origins.pop(name))
        for registry in registries()
        for name in list(registry)
        if registry.origin(name).partition(".")[0] not in OWN
    ]
