"""Imports the JSON database of TVM's MetaSchedule.

A record there is a trace, times and a target. Traces carry over as far as their primitives do: each
is applied, step by step and checked, to a program that the caller names, since TVM's own form of
the program is not read. Times do not: they are of TVM's kernels, not of the ones built here, so
they stay as a note, and a record is served once it was verified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeAlias, cast

from metasched.database.codec import MAX_LINE_BYTES
from metasched.database.records import TuningRecord, Workload
from metasched.errors import DatabaseError, MetaschedError, UsageError
from metasched.interchange.report import (
    ImportReport,
    Malformed,
    get_dict,
    get_list,
    get_seconds,
    get_text,
    parse_json,
)
from metasched.ir.expr import int_value
from metasched.ir.hash import structural_hash
from metasched.ir.stmt import Program
from metasched.measure.records import Status
from metasched.schedule.arguments import check_arguments, known_kind
from metasched.schedule.samplers import SAMPLERS
from metasched.schedule.schedule import Schedule
from metasched.target import Target
from metasched.trace.instruction import Decision, Instruction, Ref

_RECORDS: Final = "database_tuning_record.json"
_TIMES: Final = "times: they are of TVM's kernels"
_TARGET: Final = "the target's description: the one that was given is taken"
_FAILED_S: Final = 1e9
"""TVM writes 1e10 seconds for a candidate that failed."""

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


def read_tvm(path: Path, programs: Sequence[Program], target: Target) -> ImportReport:
    """Read a folder with TVM's two files, or its file of records.

    Args:
        path: the folder or file.
        programs: what the records may be of; a record is tried on those of its parameters.
        target: what the records are for.

    Raises:
        UsageError: no programs are given.
        DatabaseError: the file cannot be read, or a line is no record of TVM's.
    """
    if not programs:
        raise UsageError(
            "a TVM database does not say its programs in a form that is read here;"
            " name them, such as --program 'matmul m=512 n=512 k=512'"
        )
    file = path / _RECORDS if path.is_dir() else path
    report = ImportReport("tvm")
    for number, line in enumerate(_lines(file), start=1):
        try:
            trace, times, args = _entry(line)
        except Malformed as error:
            raise DatabaseError(f"'{file}' line {number}: {error!s:.300}") from error
        try:
            record = _record(trace, times, args, programs, target)
        except (Malformed, MetaschedError) as error:
            report.skipped[f"{error!s:.160}".splitlines()[0]] += 1
            continue
        report.lost.update((_TIMES, _TARGET))
        report.add(record, str(file))
    return report


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES + 1):
                if len(line) > MAX_LINE_BYTES:
                    raise DatabaseError(f"'{path}' has a line longer than {MAX_LINE_BYTES} bytes")
                if line.strip():
                    yield line
    except OSError as error:
        raise DatabaseError(f"cannot read '{path}': {error.strerror}; check the path") from error


def _entry(line: bytes) -> tuple[list[Any], list[Any], list[Any]]:
    """Take a line apart: ``[workload, [trace, times, target, arguments]]``."""
    outer = get_list(parse_json(line, "the line"), "the line")
    if len(outer) != 2:
        raise Malformed(f"expected a workload and a record, got {len(outer)} items")
    parts = get_list(outer[1], "the record")
    if len(parts) != 4:
        raise Malformed(f"a record has 4 parts, got {len(parts)}")
    trace, times, _, args = parts
    return get_list(trace, "trace"), get_list(times or [], "times"), get_list(args or [], "args")


def _record(
    trace: list[Any],
    times: list[Any],
    args: list[Any],
    programs: Sequence[Program],
    target: Target,
) -> TuningRecord:
    seconds = [get_seconds(t, "times") if t != 1e10 else _FAILED_S for t in times]
    if not seconds or max(seconds) >= _FAILED_S:
        raise Malformed("the candidate failed in TVM, with no reason given")
    wanted = [_arg(arg) for arg in args]
    fitting = [p for p in programs if not wanted or _args(p) == wanted]
    if not fitting:
        raise Malformed(f"no program was given for {', '.join(wanted)}")
    reasons: list[str] = []
    for program in fitting:
        try:
            schedule = _apply(trace, program)
        except (Malformed, MetaschedError) as error:
            reasons.append(str(error))
            continue
        return TuningRecord(
            workload=Workload.from_program(program),
            target=target,
            trace=schedule.trace.to_json(),
            program_hash=structural_hash(schedule.program),
            status=Status.OK,
            evidence={"imported_from": "tvm", "their_time_s": median(seconds)},
        )
    raise Malformed(f"the trace does not fit: {reasons[0]}")


def _arg(arg: Any) -> str:
    parts = get_list(arg, "an argument")
    if len(parts) != 3 or parts[0] != "TENSOR":
        raise Malformed("an argument is no tensor")
    shape = get_list(parts[2], "a shape")
    return f"{get_text(parts[1], 'a dtype')}({', '.join(map(str, shape))})"


def _args(program: Program) -> list[str]:
    return [f"{p.dtype}({', '.join(str(int_value(n)) for n in p.shape)})" for p in program.params]


def _apply(trace: list[Any], program: Program) -> Schedule:
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
