from __future__ import annotations

import json
from typing import Any

import pytest

from metasched.errors import TraceError
from metasched.schedule.schedule import Schedule
from metasched.trace.trace import Trace
from tests.core.schedule.programs import matmul


def recorded() -> Trace:
    sch = Schedule(matmul(), seed=0)
    block = sch.get_block("c")
    i, _, _ = sch.get_loops(block)
    sch.split(i, [None, sch.sample_categorical([2, 4], [0.5, 0.5])])
    sch.annotate(block, "notes", ("a", "b"))
    return sch.trace


def test_reads_back() -> None:
    trace = recorded()
    assert Trace.from_json(trace.to_json()) == trace


def test_equal_traces_give_equal_text() -> None:
    assert recorded().to_json() == recorded().to_json()


def test_the_format_is_as_documented() -> None:
    data = json.loads(recorded().to_json())
    assert data["version"] == 1
    assert data["instructions"][0] == ["get_block", ["c"], {}, [{"block": "b0"}]]
    assert data["instructions"][3][1] == [{"loop": "l1"}, [None, {"expr": "v4"}]]
    assert set(data["decisions"]) == {"2"}


def changed(**fields: Any) -> str:
    return json.dumps({**json.loads(recorded().to_json()), **fields})


LOOKUP = ["get_block", ["c"], {}, [{"block": "b0"}]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a trace must be JSON text"),
        ("[" * 100_000, "a trace must be JSON text"),
        ("[]", r"a trace must be a JSON object, got \[\]"),
        ('{"version": NaN}', "NaN is no number"),
        (changed(instructions=[["a", [float("1e999")], {}, []]]), "Infinity is no number"),
        (changed(instructions=[["a", [9e99], {}, []]]).replace("9e+99", "9e999"), "a finite numb"),
        (changed(instructions=[["a", [0], {}, []]]).replace("[0]", "[" * 900 + "]" * 900), "JSON"),
        (changed(version=2), "of version 2, this metasched reads version 1"),
        (changed(version=True), "of version True"),
        (changed(decision={}), "has no field 'decision'; did you mean 'decisions'"),
        ('{"version": 1, "instructions": []}', "a trace needs the field 'decisions'"),
        (changed(instructions={}), "instructions must be a JSON list"),
        (changed(instructions=[["get_block"]]), r"instruction 0 must be \[kind, inputs, attrs"),
        (changed(instructions=[[1, [], {}, []]]), "instruction 0 must be"),
        (
            changed(instructions=[["get_loops", [{"block": "b0"}], {}, []]]),
            "instruction 0 uses the handle 'b0' before any step defines it",
        ),
        (changed(instructions=[LOOKUP, LOOKUP]), "instruction 1 defines a handle that is defined"),
        (changed(instructions=[["a", [{"x": 1}], {}, []]]), "expected a handle such as"),
        (
            changed(instructions=[["a", [], {}, [{"loop": "x; import os"}]]]),
            "expected a handle such as",
        ),
        (changed(instructions=[["a", [], {}, [{"loop": "sch"}]]]), "expected a handle such as"),
        (changed(instructions=[["a", [], {}, [{"loop": "for"}]]]), "expected a handle such as"),
        (changed(instructions=[["a; import os", [], {}, []]]), "instruction 0 must be"),
        (changed(instructions=[["a", [], {"b=1, c": 1}, []]]), "names of options, got 'b=1, c'"),
        (
            changed(instructions=[LOOKUP, ["a", [], {"n": {"block": "b0"}}, []]]),
            "attrs hold plain values",
        ),
        (changed(decisions={"0": 1}), "decision '0' belongs to no sampling instruction"),
        (changed(decisions={"99": 1}), "decision '99' belongs to no sampling instruction"),
        (changed(decisions={"-1": 1}), "decision '-1' belongs to no sampling instruction"),
        (changed(decisions={"2": "1"}), "decision '2' must be an integer or a list"),
        (changed(decisions={"2": [True]}), "decision '2' must be an integer or a list"),
    ],
)
def test_what_is_no_trace_is_refused(text: str, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        Trace.from_json(text)
