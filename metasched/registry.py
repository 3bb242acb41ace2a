"""One generic registry; each kind of plug-in (primitive, rule, mutator, ...) has one instance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from metasched.errors import UsageError, suggest

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to members of one kind; duplicate and unknown names raise ``UsageError``.

    >>> colours = Registry[int]("colour")
    >>> colours.register("red", 1)
    1
    >>> colours["red"]
    1
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._members: dict[str, T] = {}

    def register(self, name: str, member: T) -> T:
        """Add a member under a new name and return it."""
        if name in self._members:
            raise UsageError(f"{self.kind} '{name}' is registered already; choose another name")
        self._members[name] = member
        return member

    def __getitem__(self, name: str) -> T:
        try:
            return self._members[name]
        except KeyError:
            hint = suggest(name, self._members)
            raise UsageError(f"unknown {self.kind} '{name}'{hint}") from None

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._members))

    def __len__(self) -> int:
        return len(self._members)
