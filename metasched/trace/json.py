"""Traces as versioned JSON, and back with every detail checked, since files come from anywhere.

An instruction is ``[kind, inputs, attrs, outputs]``. A handle is ``{"loop": "l3"}``, a tuple is a
list, and any other value stands for itself. Decisions are keyed by the index of their instruction.
"""

from __future__ import annotations

import json
import math
from keyword import iskeyword
from typing import Any, Final, TypeGuard, cast

from metasched.errors import TraceError, suggest
from metasched.trace.instruction import (
    Attrs,
    Decision,
    Input,
    Instruction,
    Ref,
    RefKind,
    refs_in,
)
from metasched.trace.trace import Trace

VERSION: Final = 1
_FIELDS: Final = {"version", "instructions", "decisions"}
_KINDS: Final[tuple[RefKind, ...]] = ("block", "loop", "expr")
_MOST_WRITTEN: Final = 64
_WRITTEN: Final[dict[int, tuple[tuple[Instruction, ...], str]]] = {}
"""Texts of the instructions written last, by the identity of the tuple."""


def to_json(trace: Trace) -> str:
    """One line of JSON; equal traces give equal text.

    >>> to_json(Trace())
    '{"version":1,"instructions":[],"decisions":{}}'
    """
    decisions = {str(index): trace.decisions[index] for index in sorted(trace.decisions)}
    steps = _steps(trace.instructions)
    return f'{{"version":{VERSION},"instructions":{steps},"decisions":{_dumps(decisions)}}}'


def _dumps(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _steps(steps: tuple[Instruction, ...]) -> str:
    """The text of instructions; thousands of candidates share the very tuple of their sketch."""
    known = _WRITTEN.get(id(steps))
    if known is None:
        while len(_WRITTEN) >= _MOST_WRITTEN:
            _WRITTEN.pop(next(iter(_WRITTEN)))
        # The tuple is kept with its text, so that its id stands for no other one.
        known = _WRITTEN[id(steps)] = (steps, _dumps([_write(step) for step in steps]))
    return known[1]


def _write(step: Instruction) -> list[Any]:
    return [
        step.kind,
        [_write_value(value) for value in step.inputs],
        {key: _write_value(value) for key, value in step.attrs},
        [_write_value(ref) for ref in step.outputs],
    ]


def _write_value(value: Input) -> Any:
    if isinstance(value, Ref):
        return {value.kind: value.name}
    if isinstance(value, tuple):
        return [_write_value(item) for item in value]
    return value


def from_json(text: str) -> Trace:
    """Read a trace.

    Raises:
        TraceError: the text is no trace, or one of a later version; the message says where.
    """
    try:
        return _read_trace(_object(_parse(text), "a trace"))
    except RecursionError as error:
        raise TraceError("a trace must be JSON text: it is nested too deeply") from error


def _read_trace(data: dict[str, Any]) -> Trace:
    for key in data:
        if key not in _FIELDS:
            raise TraceError(f"a trace has no field '{key}'{suggest(key, _FIELDS)}")
    for key in sorted(_FIELDS):
        if key not in data:
            raise TraceError(f"a trace needs the field '{key}'")
    version = data["version"]
    if type(version) is not int or version != VERSION:
        raise TraceError(
            f"the trace is of version {version!r}, this metasched reads version {VERSION}; "
            "update metasched or export the trace again"
        )
    defined: set[Ref] = set()
    steps = tuple(
        _read(item, index, defined)
        for index, item in enumerate(_list(data["instructions"], "instructions"))
    )
    return Trace(steps, _read_decisions(data["decisions"], steps))


def _parse(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, TypeError) as error:
        raise TraceError(f"a trace must be JSON text: {error}") from error


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _read(item: Any, index: int, defined: set[Ref]) -> Instruction:
    where = f"instruction {index}"
    parts = _list(item, where)
    if len(parts) != 4 or not _is_name(parts[0]):
        raise TraceError(f"{where} must be [kind, inputs, attrs, outputs], got {item!r}")
    kind, inputs, attrs, outputs = parts
    values = tuple(_value(v, where) for v in _list(inputs, f"{where}: inputs"))
    for ref in (ref for value in values for ref in refs_in(value)):
        if ref not in defined:
            raise TraceError(f"{where} uses the handle '{ref}' before any step defines it")
    refs = tuple(_ref(v, where) for v in _list(outputs, f"{where}: outputs"))
    if len(set(refs)) < len(refs) or not defined.isdisjoint(refs):
        raise TraceError(f"{where} defines a handle that is defined already")
    defined.update(refs)
    return Instruction(kind, values, _attrs(attrs, where), refs)


def _attrs(data: Any, where: str) -> Attrs:
    items = sorted(_object(data, f"{where}: attrs").items())
    if unfit := [key for key, _ in items if not _is_name(key)]:
        raise TraceError(f"{where}: expected names of options, got {unfit[0]!r}")
    values = [(key, _value(value, where)) for key, value in items]
    if any(refs_in(value) for _, value in values):
        raise TraceError(f"{where}: attrs hold plain values, got a handle")
    return cast(Attrs, tuple(values))


def _value(data: Any, where: str) -> Input:
    if isinstance(data, float) and not math.isfinite(data):
        raise TraceError(f"{where}: expected a finite number, got {data}")
    if data is None or isinstance(data, str | int | float):
        return data
    if isinstance(data, list):
        return tuple(_value(item, where) for item in cast(list[Any], data))
    return _ref(data, where)


def _ref(data: Any, where: str) -> Ref:
    if isinstance(data, dict) and len(cast(dict[str, Any], data)) == 1:
        ((kind, name),) = cast(dict[str, Any], data).items()
        if kind in _KINDS and _is_name(name):
            return Ref(kind, name)
    raise TraceError(f"{where}: expected a handle such as {{'loop': 'l3'}}, got {data!r}")


def _is_name(value: Any) -> TypeGuard[str]:
    """Whether a value can stand for itself in Python text, where ``sch`` is the schedule."""
    named = isinstance(value, str) and value.isidentifier()
    return named and not iskeyword(value) and value != "sch"


def _read_decisions(data: Any, steps: tuple[Instruction, ...]) -> dict[int, Decision]:
    decisions: dict[int, Decision] = {}
    for key, value in _object(data, "decisions").items():
        known = key.isdecimal() and int(key) < len(steps)
        if not known or not steps[int(key)].kind.startswith("sample_"):
            raise TraceError(f"decision '{key}' belongs to no sampling instruction")
        decisions[int(key)] = _decision(value, key)
    return decisions


def _decision(value: Any, key: str) -> Decision:
    items: list[Any] = cast(list[Any], value) if isinstance(value, list) else [value]
    if not all(isinstance(v, int) and not isinstance(v, bool) for v in items):
        raise TraceError(f"decision '{key}' must be an integer or a list of them, got {value!r}")
    return tuple(items) if isinstance(value, list) else items[0]


def _object(data: Any, what: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise TraceError(f"{what} must be a JSON object, got {_short(data)}")
    return cast(dict[str, Any], data)


def _list(data: Any, what: str) -> list[Any]:
    if not isinstance(data, list):
        raise TraceError(f"{what} must be a JSON list, got {_short(data)}")
    return cast(list[Any], data)


def _short(data: Any) -> str:
    text = repr(data)
    return text if len(text) <= 60 else f"{text[:60]}..."
