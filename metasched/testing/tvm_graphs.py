"""A small program as TVM saves it, to change in tests: the largest value of each row."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any, Final

ROWS: Final = 4
COLUMNS: Final = 6
LOWEST: Final = -3.4028234663852886e38


class _Nodes:
    """Nodes in the order they are made; a later one refers to earlier ones by number."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = [{"type": "None"}]
        self.int32 = self.node("ir.PrimType", dtype="int32")
        self.float32 = self.node("ir.PrimType", dtype="float32")
        self.truth = self.node("ir.PrimType", dtype="bool")

    def value(self, node_type: str, data: Any) -> int:
        self.nodes.append({"type": node_type, "data": data})
        return len(self.nodes) - 1

    def node(self, node_type: str, **fields: Any) -> int:
        return self.value(node_type, fields)

    def array(self, items: Sequence[int] = ()) -> int:
        return self.value("ffi.Array", list(items))

    def pairs(self, items: Sequence[int] = ()) -> int:
        return self.value("ffi.Map", list(items))

    def text(self, text: str) -> int:
        return self.value("ffi.String", text)

    def number(self, value: int, ty: int | None = None) -> int:
        return self.node("ir.IntImm", ty=ty or self.int32, value=self.value("int", value))

    def variable(self, name: str, ty: int | None = None) -> int:
        return self.node("ir.Var", ty=ty or self.int32, name=self.text(name))

    def buffer(self, name: str, *shape: int) -> int:
        kind = self.node(
            "tirx.BufferType",
            dtype=self.float32,
            storage_scope=self.text("global"),
            shape=self.array([self.number(n) for n in shape]),
            strides=self.array(),
        )
        return self.variable(name, kind)

    def range(self, first: int, extent: int) -> int:
        return self.node("ir.Range", min=first, extent=self.number(extent))

    def region(self, buffer: int, *indices: int) -> int:
        ranges = [self.range(index, 1) for index in indices]
        return self.node("ir.TensorRegion", source=buffer, region=self.array(ranges))

    def iteration(self, var: int, extent: int, kind: int) -> int:
        dom = self.range(self.number(0), extent)
        return self.node("tirx.IterVar", dom=dom, var=var, iter_type=kind)

    def block(self, name: str, bindings: Sequence[int], body: int, **lists: Any) -> int:
        init = lists.pop("init", 0)
        fields = {key: self.array(items) for key, items in lists.items()}
        empty = self.array()
        kinds = ("iter_vars", "reads", "writes", "alloc_buffers", "match_buffers")
        block = self.node(
            "s_tir.SBlock",
            name_hint=self.text(name),
            annotations=self.pairs(),
            init=init,
            body=body,
            **{kind: fields.get(kind, empty) for kind in kinds},
        )
        values, always = self.array(bindings), self.number(1, self.truth)
        return self.node("s_tir.SBlockRealize", iter_values=values, predicate=always, block=block)

    def loop(self, var: int, extent: int, body: int) -> int:
        first, size = self.number(0), self.number(extent)
        return self.node(
            "tirx.For", loop_var=var, min=first, extent=size, kind=0, body=body,
            thread_binding=0, step=0, annotations=self.pairs(),
        )  # fmt: skip


def row_maxima() -> dict[str, Any]:
    """Return the graph."""
    n = _Nodes()
    a, m = n.buffer("a", ROWS, COLUMNS), n.buffer("m", ROWS)
    i, k, v_i, v_k = (n.variable(name) for name in ("i", "k", "v_i", "v_k"))
    at, place = n.array([v_i, v_k]), n.array([v_i])
    lowest = n.node("ir.FloatImm", ty=n.float32, value=LOWEST)
    old = n.node("ir.TensorLoad", ty=n.float32, source=m, indices=place)
    new = n.node("ir.TensorLoad", ty=n.float32, source=a, indices=at)
    largest = n.node("prim.Max", ty=n.float32, a=old, b=new)
    body = n.block(
        "m",
        [i, k],
        n.node("tirx.BufferStore", buffer=m, value=largest, indices=place),
        init=n.node("tirx.BufferStore", buffer=m, value=lowest, indices=place),
        iter_vars=[n.iteration(v_i, ROWS, 0), n.iteration(v_k, COLUMNS, 2)],
        reads=[n.region(a, v_i, v_k)],
        writes=[n.region(m, v_i)],
    )
    root = n.block("root", [], n.loop(i, ROWS, n.loop(k, COLUMNS, body)))
    function = n.node("tirx.PrimFunc", params=n.array([a, m]), body=root)
    module = n.node("ir.IRModule", functions=n.pairs([n.text("main"), function]))
    return {"root_index": module, "nodes": n.nodes}


def encoded(graph: bytes | dict[str, Any]) -> str:
    """Return what TVM's file of workloads holds of a graph."""
    data = graph if isinstance(graph, bytes) else json.dumps(graph).encode()
    return base64.b64encode(len(data).to_bytes(8, "little") + data).decode()
