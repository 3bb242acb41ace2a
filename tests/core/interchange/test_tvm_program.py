"""`data/tvm` holds what TVM 0.27 wrote for a matmul, a dense layer and a softmax."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import metasched as ms
from metasched.database import Workload
from metasched.interchange.report import Malformed
from metasched.interchange.tvm_graph import MAX_NODES
from metasched.interchange.tvm_program import read_program
from metasched.ir.reference import evaluate
from metasched.testing.tvm_graphs import encoded, row_maxima

FOLDER = Path(__file__).parent / "data" / "tvm"
MATMUL, DENSE, SOFTMAX = (
    json.loads(line)[1] for line in (FOLDER / "database_workload.json").read_text().splitlines()
)


@pytest.mark.parametrize(
    ("text", "ours"),
    [(MATMUL, ms.ops.matmul(m=64, n=48, k=32)), (SOFTMAX, ms.ops.softmax(m=32, n=64))],
)
def test_the_same_computation_is_the_same_workload(text: str, ours: ms.Program) -> None:
    program, _ = read_program(text)
    assert Workload.from_program(program).hash == Workload.from_program(ours).hash


def test_several_stages_compute_what_they_say() -> None:
    program, notes = read_program(DENSE)
    rng = np.random.default_rng(0)
    data, weight, bias = (
        rng.standard_normal(shape).astype(np.float32) for shape in ((16, 32), (24, 32), (24,))
    )
    found = evaluate(program, {"data": data, "weight": weight, "bias": bias})["compute"]
    np.testing.assert_allclose(found, np.maximum(data @ weight.T + bias, 0), rtol=1e-4, atol=1e-5)
    assert notes == ()
    assert program.name == "tvm_compute"


def test_what_was_changed_is_said() -> None:
    _, notes = read_program(SOFTMAX)
    assert notes == (
        "annotation 'axis' of a program",
        "what a max begins with: the last finite number, which is infinity here",
    )


def test_a_small_graph() -> None:
    program, notes = read_program(encoded(row_maxima()))
    assert "m[v_i] = float32(-inf)" in str(program)
    assert len(notes) == 1
    a = np.arange(24, dtype=np.float32).reshape(4, 6)
    np.testing.assert_array_equal(evaluate(program, {"a": a})["m"], a.max(axis=1))


def nodes_of(graph: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [node for node in graph["nodes"] if node["type"] == kind]


def set_field(node_type: str, **fields: Any) -> Callable[[dict[str, Any]], None]:
    def change(graph: dict[str, Any]) -> None:
        nodes_of(graph, node_type)[0]["data"].update(fields)

    return change


def set_type(kind: str, other: str) -> Callable[[dict[str, Any]], None]:
    def change(graph: dict[str, Any]) -> None:
        nodes_of(graph, kind)[0]["type"] = other

    return change


def in_a_circle(graph: dict[str, Any]) -> None:
    found = nodes_of(graph, "prim.Max")[0]
    found["data"]["a"] = graph["nodes"].index(found)


def doubled(graph: dict[str, Any]) -> None:
    """Sums of a sum with itself: 60 nodes that stand for 2 to the 60th."""
    value = nodes_of(graph, "prim.Max")[0]["data"]["b"]
    for _ in range(60):
        graph["nodes"].append({"type": "prim.Add", "data": {"a": value, "b": value}})
        value = len(graph["nodes"]) - 1
    nodes_of(graph, "prim.Max")[0]["data"]["b"] = value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_type("prim.Max", "prim.Frob"), "an expression 'Frob' does not carry over"),
        (set_type("tirx.BufferStore", "tirx.Evaluate"), "a statement 'Evaluate' does not carry"),
        (set_type("tirx.PrimFunc", "relax.Function"), "a function is a Function"),
        (set_field("tirx.For", kind=1), "a loop that is scheduled already"),
        (set_field("tirx.For", min=10_000), "a field refers to no node"),
        (set_field("tirx.IterVar", iter_type=3), "neither spatial nor a reduction"),
        (set_field("tirx.IterVar", iter_type=[]), "neither spatial nor a reduction"),
        (set_field("ir.FloatImm", value="x"), "a number is no number"),
        (set_field("ir.PrimType", dtype="int7"), "is not valid here"),
        (set_field("s_tir.SBlock", iter_vars=0), "a node is None, expected ffi.Array"),
        (lambda graph: graph.update(root_index=True), "a field refers to no node"),
        (lambda graph: graph.update(nodes={}), "nodes: expected a list"),
        (in_a_circle, "is nested too deeply|of more than"),
        (doubled, f"of more than {MAX_NODES} nodes"),
    ],
)
def test_what_does_not_carry_over_is_named(
    change: Callable[[dict[str, Any]], None], message: str
) -> None:
    graph = row_maxima()
    change(graph)
    with pytest.raises(Malformed, match=message):
        read_program(encoded(graph))


@pytest.mark.parametrize("text", ["", "%%%", "AAAA", encoded(b"[" * 100_000), encoded(b"[]")])
def test_what_is_no_graph_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="a workload"):
        read_program(text)
