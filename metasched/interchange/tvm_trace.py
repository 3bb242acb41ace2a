"""Applies a trace of TVM's to a program, step by step, each checked as any other step is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, cast

from metasched.interchange.report import Malformed, get_dict, get_list, get_text
from metasched.ir.stmt import Program
from metasched.schedule.arguments import check_arguments, known_kind
from metasched.schedule.samplers import SAMPLERS
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Decision, Instruction, Ref

_Step: TypeAlias = tuple[tuple[Any, ...], Mapping[str, Any]]
_Read: TypeAlias = Callable[[list[Any], list[Any]], _Step]


def _plain(*names: str) -> _Read:
    """Inputs as they are, then attributes by position."""
    return lambda inputs, attrs: (
        tuple(inputs),
        {n: bool(v) if n.startswith("preserve") else v for n, v in zip(names, attrs, strict=False)},
    )


def _with_attrs(count: int) -> _Read:
    """The first ``count`` inputs, then all attributes as further ones."""
    return lambda inputs, attrs: ((*inputs[:count], *attrs), {})


def _named(inputs: list[Any], attrs: list[Any]) -> _Step:
    return (attrs[0],), {}


def _split(inputs: list[Any], attrs: list[Any]) -> _Step:
    names = ("preserve_unit_iters", "disable_predication")
    options = {n: bool(v) for n, v in zip(names, attrs, strict=False) if v}
    return (inputs[0], tuple(inputs[1:])), options


def _categorical(inputs: list[Any], attrs: list[Any]) -> _Step:
    candidates, probs = attrs
    return (tuple(candidates), tuple(map(float, probs))), {}


def _tile(inputs: list[Any], attrs: list[Any]) -> _Step:
    count, innermost = attrs
    return (inputs[0], count), {"max_innermost_factor": innermost}


def _cache(inputs: list[Any], attrs: list[Any]) -> _Step:
    if len(inputs) > 1 and inputs[1] != ():
        raise Malformed("a cache for some of the consumers only does not carry over")
    return (inputs[0], *attrs), {}


def _annotate(inputs: list[Any], attrs: list[Any]) -> _Step:
    return (inputs[0], attrs[0], inputs[1]), {}


_STEPS: Final[Mapping[str, tuple[str, _Read]]] = {
    "GetSBlock": ("get_block", _named),
    "GetBlock": ("get_block", _named),
    "GetLoops": ("get_loops", _plain()),
    "GetChildBlocks": ("get_child_blocks", _plain()),
    "GetProducers": ("get_producers", _plain()),
    "GetConsumers": ("get_consumers", _plain()),
    "SamplePerfectTile": ("sample_perfect_tile", _tile),
    "SampleCategorical": ("sample_categorical", _categorical),
    "SampleComputeLocation": ("sample_compute_location", _plain()),
    "Split": ("split", _split),
    "Fuse": ("fuse", _plain("preserve_unit_iters")),
    "Reorder": ("reorder", _plain()),
    "AddUnitLoop": ("add_unit_loop", _plain()),
    "Parallel": ("parallel", _plain()),
    "Vectorize": ("vectorize", _plain()),
    "Unroll": ("unroll", _plain()),
    "Bind": ("bind", _with_attrs(1)),
    "ComputeAt": ("compute_at", _plain("preserve_unit_loops", "index")),
    "ReverseComputeAt": ("reverse_compute_at", _plain("preserve_unit_loops", "index")),
    "ComputeInline": ("compute_inline", _plain()),
    "ReverseComputeInline": ("reverse_compute_inline", _plain()),
    "CacheRead": ("cache_read", _cache),
    "CacheWrite": ("cache_write", _cache),
    "SetScope": ("set_scope", _with_attrs(1)),
    "StorageAlign": ("storage_align", _with_attrs(1)),
    "DecomposeReduction": ("decompose_reduction", _plain()),
    "RFactor": ("rfactor", _with_attrs(1)),
    "Annotate": ("annotate", _annotate),
    "Unannotate": ("unannotate", _with_attrs(1)),
    "EnterPostproc": ("enter_postproc", _plain()),
}


def apply_trace(trace: list[Any], program: Program) -> Schedule:
    """Return the schedule that a trace of TVM's gives.

    Raises:
        Malformed: it is none, or has a primitive that does not carry over.
        ScheduleError: a step is refused.
        TraceError: a step is malformed, or a decision is not legal here.
    """
    if len(trace) != 2:
        raise Malformed(f"a trace has steps and decisions, got {len(trace)} parts")
    steps = get_list(trace[0], "steps")
    decisions: dict[int, Any] = {}
    for item in get_list(trace[1], "decisions"):
        pair = get_list(item, "a decision")
        if len(pair) != 2 or not isinstance(pair[0], int):
            raise Malformed("a decision is the index of a step and a value")
        decisions[pair[0]] = pair[1]
    schedule = Schedule(program)
    values: dict[str, Ref] = {}
    for index, item in enumerate(steps):
        _step(schedule, values, item, decisions.get(index))
    return schedule


def _step(schedule: Schedule, values: dict[str, Ref], item: Any, decision: Any) -> None:
    parts = get_list(item, "a step")
    if len(parts) != 4:
        raise Malformed(f"a step has 4 parts, got {len(parts)}")
    name = get_text(parts[0], "a step")
    if name not in _STEPS:
        raise Malformed(f"primitive {name!r:.40} does not carry over")
    kind, read = _STEPS[name]
    given = [_value(value, values) for value in get_list(parts[1], "inputs")]
    try:
        inputs, attrs = read(given, get_list(parts[2], "attributes"))
    except (IndexError, ValueError, TypeError):
        raise Malformed(f"{name} has other arguments than are known") from None
    step = Instruction(kind, tuple(map(_frozen, inputs)), tuple(sorted(attrs.items())), ())
    if not known_kind(kind) or (kind in SAMPLERS and decision is None):
        raise Malformed(f"{name} has no decision")
    check_arguments(step, schedule.resolve(step))
    refs = schedule.run(step, _decision(decision) if kind in SAMPLERS else None)
    outputs = [get_text(output, "an output") for output in get_list(parts[3], "outputs")]
    if len(outputs) > len(refs):
        raise Malformed(f"{name} gives {len(refs)} results, the trace has {len(outputs)}")
    values.update(zip(outputs, refs, strict=False))


def _value(value: Any, values: Mapping[str, Ref]) -> Any:
    """A handle by its name, text in its own quotation marks, or a number."""
    if isinstance(value, str):
        if value.startswith('"'):
            return get_text(value[1:-1], "text")
        if value not in values:
            raise Malformed(f"handle {value!r:.40} is not defined")
        return values[value]
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, list):
        return tuple(_value(item, values) for item in cast("list[Any]", value))
    raise Malformed(f"an input is a {type(value).__name__}")


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_frozen, cast("list[Any]", value)))
    if isinstance(value, str):
        return get_text(value, "text")
    if isinstance(value, dict):
        raise Malformed(f"an argument is an object of {len(get_dict(value, 'it'))} fields")
    return value


def _decision(value: Any) -> Decision:
    items = cast("list[Any]", value) if isinstance(value, list) else [value]
    if not all(type(item) is int for item in items):
        raise Malformed("a decision is an integer or a list of them")
    return tuple(items) if isinstance(value, list) else items[0]
