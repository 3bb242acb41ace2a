"""One generic registry; each kind of plug-in (primitive, rule, mutator, ...) has one instance."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, Final, Generic, TypeVar, cast

from metasched.errors import UsageError, suggest

T = TypeVar("T")

OWN: Final = ("metasched", "metasched_db", "metasched_workers")
"""The packages whose members every installation has."""
_ALL: Final[list[Registry[Any]]] = []


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
        self._origins: dict[str, str] = {}
        _ALL.append(self)

    def register(self, name: str, member: T) -> T:
        """Add a member under a new name and return it."""
        if name in self._members:
            raise UsageError(f"{self.kind} '{name}' is registered already; choose another name")
        self._members[name] = member
        self._origins[name] = _module_at_work()
        return member

    def origin(self, name: str) -> str:
        """Return the module that registered a member when it was imported."""
        return self._origins[name]

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


def registries() -> tuple[Registry[Any], ...]:
    """Return all registries of this process."""
    return tuple(_ALL)


def foreign_modules() -> tuple[str, ...]:
    """Return the modules outside this library that registered members, in the order they did.

    A process that imports them has the same members; what a program registers outside of the import
    of a module it has not.
    """
    found = (
        registry.origin(name)
        for registry in _ALL
        for name in registry._origins  # pyright: ignore[reportPrivateUsage]
    )
    outside = (name for name in found if name.partition(".")[0] not in OWN)
    importable = (name for name in outside if _file_of(name))
    return tuple(dict.fromkeys(importable))


def members() -> dict[str, str]:
    """Return a hash of each member of each registry, by kind and name."""
    return {
        f"{registry.kind} '{name}'": _digest(registry[name])
        for registry in _ALL
        for name in registry
    }


def _file_of(module: str) -> str:
    found = sys.modules.get(module)
    return "" if module == "__main__" else getattr(found, "__file__", None) or ""


def _module_at_work() -> str:
    """The module whose import is under way, the innermost one."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame.f_code.co_name != "<module>" and frame.f_back is not None:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", ""))


def _digest(member: object) -> str:
    return hashlib.sha256(_text(member).encode()).hexdigest()[:16]


def _text(value: object) -> str:
    """A text that is the same in every process that has the same member."""
    if is_dataclass(value) and not isinstance(value, type):
        inside = (f"{f.name}={_text(getattr(value, f.name))}" for f in fields(value))
        return f"{type(value).__qualname__}({', '.join(inside)})"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_text, cast('tuple[object, ...]', value)))}]"
    code = getattr(value, "__code__", None)
    if code is not None:
        return f"{getattr(value, '__qualname__', '')}:{code.co_code.hex()}"
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"
    return repr(value)
