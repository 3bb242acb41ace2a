"""A small least-recently-used store that is bounded by bytes, for what a runner reuses."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Values by key; the longest unused go when the bytes exceed a limit.

    The latest value stays even when it alone is larger than the limit.

    >>> kept = Kept[str](3, len)
    >>> kept.get("a", lambda: "xx"), kept.get("b", lambda: "yy"), kept.get("a", lambda: "new")
    ('xx', 'yy', 'new')

    Args:
        limit_bytes: The limit.
        size: Returns the bytes of a value.
    """

    def __init__(self, limit_bytes: int, size: Callable[[T], int]) -> None:
        self._limit = limit_bytes
        self._size = size
        self._values: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of a key, made now if it is not there."""
        if key not in self._values:
            self._values[key] = make()
            while len(self._values) > 1 and self._bytes() > self._limit:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        return self._values[key]

    def drop(self, key: Hashable) -> None:
        """Forget a value, if it is there."""
        self._values.pop(key, None)

    def _bytes(self) -> int:
        return sum(map(self._size, self._values.values()))
