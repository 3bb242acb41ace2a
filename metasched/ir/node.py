"""Base of the immutable IR nodes: value equality with a hash that is computed once."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, ClassVar


class Node:
    """A frozen record compared by value; subclasses are frozen slotted dataclasses.

    The hash is cached because sub-expressions are shared widely and passes use nodes as keys.
    """

    __slots__ = ("_hash",)
    __dataclass_fields__: ClassVar[dict[str, Any]]
    __match_args__: ClassVar[tuple[str, ...]]

    def __hash__(self) -> int:
        try:
            return self._hash  # type: ignore[attr-defined,no-any-return]
        except AttributeError:
            kind = type(self)
            value = hash((kind, (_FIELDS.get(kind) or _fields(kind))(self)))
            object.__setattr__(self, "_hash", value)
            return value

    def __eq__(self, other: object, /) -> bool:
        if self is other:
            return True
        kind = type(self)
        if kind is not type(other) or hash(self) != hash(other):
            return False
        fields = _FIELDS.get(kind) or _fields(kind)
        return bool(fields(self) == fields(other))


_FIELDS: dict[type[Node], Callable[[Any], Any]] = {}


def _fields(kind: type[Node]) -> Callable[[Any], Any]:
    """What takes the fields of such a node, all at once."""
    taken = _FIELDS[kind] = attrgetter(*kind.__match_args__)
    return taken


def slot_setters(kind: type[Node], *names: str) -> tuple[Callable[[Node, object], None], ...]:
    """What fills slots of a frozen node, for a constructor written by hand."""
    return tuple(getattr(kind, name).__set__ for name in names)
