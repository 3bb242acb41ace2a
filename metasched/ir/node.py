"""Base of the immutable IR nodes: value equality with a hash that is computed once."""

from __future__ import annotations

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
            value = hash((type(self), *(getattr(self, f) for f in self.__match_args__)))
            object.__setattr__(self, "_hash", value)
            return value

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other) or hash(self) != hash(other):
            return False
        return all(getattr(self, f) == getattr(other, f) for f in self.__match_args__)
