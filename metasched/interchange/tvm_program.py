"""Reads programs that TVM saved: a graph of nodes in JSON, each with its type and its fields.

What is read is an unscheduled program: loops, blocks, stores and arithmetic on arrays of known
sizes. Everything else is refused by its name. `tvm_graph` reads the nodes themselves.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from metasched.errors import MetaschedError
from metasched.interchange.report import Malformed, get_dict, get_list, parse_json
from metasched.interchange.tvm_graph import Graph
from metasched.interchange.tvm_values import Values, as_type
from metasched.ir.dtype import BOOL, DType
from metasched.ir.expr import (
    Binary,
    Const,
    Expr,
    const,
)
from metasched.ir.stmt import Block, For, IterKind, IterVar, Program, Region, Stmt, Store, seq
from metasched.ir.verify import verify
from metasched.ir.walk import fresh_name

_LARGEST: Final = {
    DType.of(name): float(np.finfo(name).max) for name in ("float16", "float32", "float64")
}
_ITERS: Final[Mapping[int, IterKind]] = {0: "spatial", 2: "reduce"}
_SERIAL: Final = 0


def read_program(encoded: str) -> tuple[Program, tuple[str, ...]]:
    """Return the program of a workload as TVM's database holds it: base64 of a JSON graph.

    Returns:
        The program, and what of it was changed or left out.

    Raises:
        Malformed: it is none, or holds something that does not carry over.
    """
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed(f"a workload is no base64 ({error!s:.40})") from error
    # TVM puts the length in front.
    graph = get_dict(parse_json(data[8:], "a workload"), "a workload")
    try:
        reader = _Reader(Graph(get_list(graph.get("nodes"), "nodes")))
        return reader.module(graph.get("root_index")), tuple(sorted(reader.notes))
    except RecursionError:
        raise Malformed("a workload is nested too deeply") from None
    except (MetaschedError, ArithmeticError) as error:
        raise Malformed(f"the program is not valid here: {error!s:.120}") from error


class _Reader:
    """Reads the statements of one graph. Fields hold the numbers of other nodes."""

    def __init__(self, graph: Graph) -> None:
        self._graph, self._values = graph, Values(graph)
        self.notes: set[str] = set()

    def module(self, root: Any) -> Program:
        kind, module = self._graph.node(root)
        if kind != "IRModule":
            raise Malformed(f"a workload is a {kind:.40}, expected a module")
        pair = self._graph.keys_and_values(module.get("functions"))
        if len(pair) != 2:
            raise Malformed("a workload is no module of one function")
        kind, function = self._graph.node(pair[1])
        if kind != "PrimFunc":
            raise Malformed(f"a function is a {kind:.40}")
        params = tuple(map(self._values.buffer, self._graph.array(function.get("params"))))
        root_block = self._stmt(function.get("body"))
        if not isinstance(root_block, Block) or root_block.iters:
            raise Malformed("a function is no block")
        used = {buffer.name for buffer in (*params, *root_block.allocs)}
        names = [buffer.name for buffer in params] or ["program"]
        program = Program(fresh_name(f"tvm_{names[-1]}", used), params, root_block)
        verify(program)
        return program

    def _stmt(self, ref: Any) -> Stmt:
        kind, fields = self._graph.node(ref)
        match kind:
            case "For":
                return self._for(fields)
            case "SBlockRealize":
                return self._block(fields)
            case "SeqStmt":
                return seq(*map(self._stmt, self._graph.array(fields.get("seq"))))
            case "BufferStore":
                place = self._values.load(fields, "buffer")
                value = self._values.expr(fields.get("value"))
                return Store(place.buffer, place.indices, as_type(value, place.dtype))
            case _:
                raise Malformed(f"a statement '{kind:.40}' does not carry over")

    def _for(self, fields: Mapping[str, Any]) -> For:
        has = [not self._graph.is_none(fields.get(name)) for name in ("thread_binding", "step")]
        if fields.get("kind") != _SERIAL or any(has):
            raise Malformed("a loop that is scheduled already")
        self._values.check_zero(fields.get("min"))
        self._note_annotations(fields)
        var, extent = self._values.bind(fields.get("loop_var")), fields.get("extent")
        return For(var, self._values.size(extent), self._stmt(fields.get("body")))

    def _block(self, realize: Mapping[str, Any]) -> Block:
        if self._values.expr(realize.get("predicate")) != const(True, BOOL):
            raise Malformed("a block with a predicate")
        _, fields = self._graph.node(realize.get("block"))
        if self._graph.array(fields.get("match_buffers")):
            raise Malformed("a block that matches buffers")
        self._note_annotations(fields)
        bindings = self._values.indices(realize.get("iter_values"))
        iters = self._graph.array(fields.get("iter_vars"))
        if len(iters) != len(bindings):
            raise Malformed("a block binds other variables than it has")
        bound = tuple(map(self._iter, iters, bindings))
        body, init = self._stmt(fields.get("body")), self._optional(fields.get("init"))
        return Block(
            self._graph.text(fields.get("name_hint")),
            bound,
            self._regions(fields.get("reads")),
            self._regions(fields.get("writes")),
            allocs=tuple(map(self._values.buffer, self._graph.array(fields.get("alloc_buffers")))),
            init=None if init is None else self._neutral(init, body),
            body=body,
        )

    def _note_annotations(self, fields: Mapping[str, Any]) -> None:
        for ref in self._graph.keys_and_values(fields.get("annotations"))[::2]:
            self.notes.add(f"annotation '{self._graph.text(ref):.40}' of a program")

    def _neutral(self, init: Stmt, body: Stmt) -> Stmt:
        """TVM begins a maximum with the lowest finite number; here that is minus infinity."""
        match init, body:
            case Store(value=Const(value, dtype)), Store(value=Binary("max" | "min" as op)):
                pass
            case _:
                return init
        sign = -1.0 if op == "max" else 1.0
        if dtype not in _LARGEST or value != sign * _LARGEST[dtype]:
            return init
        self.notes.add(f"what a {op} begins with: the last finite number, which is infinity here")
        return replace(init, value=const(sign * math.inf, dtype))

    def _optional(self, ref: Any) -> Stmt | None:
        return None if self._graph.is_none(ref) else self._stmt(ref)

    def _iter(self, ref: Any, binding: Expr) -> IterVar:
        _, fields = self._graph.node(ref)
        kind = fields.get("iter_type")
        if not isinstance(kind, int) or kind not in _ITERS:
            raise Malformed("an iteration variable that is neither spatial nor a reduction")
        extent = self._values.from_zero(fields.get("dom"))
        return IterVar(self._values.bind(fields.get("var")), extent, _ITERS[kind], binding)

    def _regions(self, ref: Any) -> tuple[Region, ...]:
        return tuple(map(self._region, self._graph.array(ref)))

    def _region(self, ref: Any) -> Region:
        _, fields = self._graph.node(ref)
        ranges = [self._graph.node(one)[1] for one in self._graph.array(fields.get("region"))]
        index = self._values.index
        pairs = tuple((index(r.get("min")), index(r.get("extent"))) for r in ranges)
        return Region(self._values.buffer(fields.get("source")), pairs)
