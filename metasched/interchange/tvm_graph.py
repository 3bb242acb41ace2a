"""A graph of nodes in JSON, as TVM saves its objects: each node has a type and fields.

Fields hold the numbers of other nodes. A graph may share nodes, and even hold circles, so what it
stands for can be far larger than its text; how much is read is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from metasched.interchange.report import Malformed, get_dict, get_list, get_text

MAX_NODES: Final = 200_000
"""Nodes that are read of one graph, counted as often as they are asked for."""


class Graph:
    """The nodes of one graph.

    Raises:
        Malformed: from every method, where a node is not what is asked for.
    """

    def __init__(self, nodes: Sequence[Any]) -> None:
        self._nodes = nodes
        self._left = MAX_NODES

    def node(self, ref: Any) -> tuple[str, Mapping[str, Any]]:
        """Return the last part of a node's type, and its fields."""
        node = self._raw(ref)
        return str(node.get("type")).rpartition(".")[2], get_dict(node.get("data", {}), "a node")

    def array(self, ref: Any) -> Sequence[Any]:
        """Return the numbers in a list."""
        return self._sequence(ref, "ffi.Array")

    def keys_and_values(self, ref: Any) -> Sequence[Any]:
        """Return the numbers in a map: a key, its value, the next key."""
        return self._sequence(ref, "ffi.Map")

    def text(self, ref: Any) -> str:
        """Return a text, such as a name."""
        return get_text(self._raw(ref).get("data"), "a name")

    def number(self, ref: Any) -> int:
        """Return an integer of 64 bits."""
        value = self._raw(ref).get("data")
        if not isinstance(value, int) or abs(value) >= 2**63:
            raise Malformed("a number is no integer of 64 bits")
        return value

    def is_none(self, ref: Any) -> bool:
        """Whether a field has no value."""
        return self._raw(ref).get("type") == "None"

    def _sequence(self, ref: Any, kind: str) -> Sequence[Any]:
        node = self._raw(ref)
        if node.get("type") != kind:
            raise Malformed(f"a node is {str(node.get('type'))[:40]}, expected {kind}")
        return get_list(node.get("data"), "a list")

    def _raw(self, ref: Any) -> Mapping[str, Any]:
        self._left -= 1
        if self._left < 0:
            raise Malformed(f"a program of more than {MAX_NODES} nodes")
        if type(ref) is not int or not 0 <= ref < len(self._nodes):
            raise Malformed("a field refers to no node")
        return get_dict(self._nodes[ref], "a node")
