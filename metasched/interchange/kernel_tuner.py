"""Imports result files (T4) and cache files of Kernel Tuner.

Its kernels are text of their own, so there is no trace to replay and nothing is ever served; times,
parameters, other metrics and failures carry over, for comparisons, plots and SQL. Times there are
milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from metasched.database.records import Scalar, TuningRecord, Workload, now
from metasched.errors import DatabaseError, MetaschedError
from metasched.interchange.report import (
    ImportReport,
    Malformed,
    get_dict,
    get_list,
    get_seconds,
    get_text,
    parse_json,
    read_document,
)
from metasched.measure.records import Status
from metasched.target import Target
from metasched.target.gpu import OPENCL_LIMITS

MS: Final = 1e-3

_STATUS: Final = {
    "correct": Status.OK,
    "constraints": Status.REJECTED,
    "compile": Status.BUILD_ERROR,
    "runtime": Status.RUN_ERROR,
    "timeout": Status.RUN_TIMEOUT,
    "correctness": Status.WRONG_RESULT,
    "InvalidConfig": Status.REJECTED,
    "CompilationFailedConfig": Status.BUILD_ERROR,
    "RuntimeFailedConfig": Status.RUN_ERROR,
}
_TIMERS: Final = {
    "compilation": "build",
    "compilation_time": "build",
    "compile_time": "build",
    "benchmark_time": "run",
    "validation": "check",
    "verification_time": "check",
}
_OTHER_TIMES: Final = {"timestamp", "strategy_time", "framework_time"}
_MS_UNITS: Final = {"", "ms", "milliseconds", "miliseconds"}
"""How the unit of a time is spelled; published files have a slip of the pen."""
_PARAMETER: Final = "parameter "
_NO_TRACE: Final = "the kernel itself: its source is not in the file, so no record is served"


def read_t4(path: Path) -> ImportReport:
    """Read a T4 result file.

    Raises:
        DatabaseError: The file cannot be read or is none.
    """
    report = ImportReport("T4")
    try:
        data = get_dict(parse_json(read_document(path), "the file"), "the file")
        results = get_list(data.get("results"), "results")
    except Malformed as error:
        raise DatabaseError(f"'{path}' is no T4 file: {error}") from error
    for entry in results:
        _add(report, path, lambda entry=entry: _of_result(entry, path.stem, report))
    return report


def read_cache(path: Path) -> ImportReport:
    """Read a cache file; one that a run which was ended left open is closed first.

    Raises:
        DatabaseError: The file cannot be read or is none.
    """
    report = ImportReport("kernel_tuner cache")
    text = read_document(path).rstrip().rstrip(",")
    try:
        data = get_dict(_parse_open(text), "the file")
        entries = get_dict(data.get("cache"), "cache")
        kernel = get_text(data.get("kernel_name"), "kernel_name")
        device = get_text(data.get("device_name"), "device_name")
        size = json.dumps(data.get("problem_size"))
        names = set(map(str, get_list(data.get("tune_params_keys") or [], "tune_params_keys")))
    except (Malformed, RecursionError) as error:
        raise DatabaseError(f"'{path}' is no cache file: {error}") from error
    workload = _workload(kernel, f"problem size {size}")
    for entry in entries.values():
        _add(report, path, lambda entry=entry: _of_cached(entry, names, workload, device, report))
    return report


def _parse_open(text: str) -> Any:
    try:
        return parse_json(text, "the file")
    except Malformed:
        return parse_json(text + "}}", "the file")


def _add(report: ImportReport, path: Path, make: Callable[[], TuningRecord]) -> None:
    try:
        record = make()
    except (Malformed, MetaschedError) as error:
        report.skipped[f"{error!s:.120}"] += 1
        return
    report.lost[_NO_TRACE] += 1
    report.add(record, str(path))


def _of_result(entry: Any, name: str, report: ImportReport) -> TuningRecord:
    data = get_dict(entry, "a result")
    configuration = get_dict(data.get("configuration"), "configuration")
    times = get_dict(data.get("times", {}), "times")
    status = _status(data.get("invalidity", "correct"))
    runs = get_list(times.get("runtimes") or [], "runtimes")
    samples = tuple(get_seconds(t, "runtimes", MS) for t in runs)
    metrics: dict[str, Any] = {}
    for item in get_list(data.get("measurements", []), "measurements"):
        measured = get_dict(item, "a measurement")
        what = get_text(measured.get("name"), "the name of a measurement")
        unit = get_text(measured.get("unit", ""), "a unit")
        if what != "time" or unit not in _MS_UNITS:
            metrics[f"{what} {unit}".rstrip()] = measured.get("value")
        elif status is Status.OK:
            samples = samples or (get_seconds(measured.get("value"), "time", MS),)
    return _record(
        _workload(name, "a T4 file, which names no kernel, problem size or device"),
        "unknown device",
        status,
        samples,
        {**_parameters(configuration), **_metrics(metrics, report)},
        _timers(times),
        data.get("timestamp"),
    )


def _of_cached(
    entry: Any, names: set[str], workload: Workload, device: str, report: ImportReport
) -> TuningRecord:
    data = get_dict(entry, "an entry")
    time = data.get("time")
    status = _status(time) if isinstance(time, str) else Status.OK
    # What another objective was tuned for may have no time at all.
    alone = [] if time is None or status is not Status.OK else [time]
    samples = tuple(
        get_seconds(t, "times", MS) for t in get_list(data.get("times") or alone, "times")
    )
    known = {*names, *_TIMERS, *_OTHER_TIMES, "time", "times"}
    configuration = {name: data[name] for name in sorted(names) if name in data}
    metrics = {name: data[name] for name in data if name not in known}
    evidence = {**_parameters(configuration), **_metrics(metrics, report)}
    return _record(
        workload, device, status, samples, evidence, _timers(data), data.get("timestamp")
    )


def _status(name: Any) -> Status:
    found = _STATUS.get(name) if isinstance(name, str) else None
    if found is None:
        raise Malformed(f"unknown outcome {str(name)[:40]!r}")
    return found


def _timers(data: Mapping[str, Any]) -> dict[str, float]:
    present = {n: data[n] for n in _TIMERS if isinstance(data.get(n), int | float)}
    return {_TIMERS[name]: get_seconds(value, name, MS) for name, value in present.items()}


def _workload(name: str, about: str) -> Workload:
    text = f"kernel '{name}' of Kernel Tuner, {about}"
    return Workload(sha256(text.encode()).hexdigest(), name, text)


def _record(
    workload: Workload,
    device: str,
    status: Status,
    samples: tuple[float, ...],
    evidence: dict[str, Scalar],
    timers: dict[str, float],
    timestamp: Any,
) -> TuningRecord:
    parameters = {
        name.removeprefix(_PARAMETER): value
        for name, value in evidence.items()
        if name.startswith(_PARAMETER)
    }
    text = json.dumps(parameters, sort_keys=True)
    failed = status is not Status.OK
    return TuningRecord(
        workload=workload,
        target=foreign_target(device),
        trace="",
        program_hash=f"parameters:{sha256(text.encode()).hexdigest()[:32]}",
        status=status,
        message=f"{status} in Kernel Tuner" if failed else "",
        samples_s=() if failed else samples,
        evidence={"imported_from": "kernel_tuner", **evidence},
        timers=timers,
        created_at=_time(timestamp),
    )


def _parameters(configuration: Mapping[str, Any]) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {}
    for name, value in configuration.items():
        if not _is_scalar(value):
            raise Malformed(f"parameter '{name:.40}' is no number, text or truth value")
        found[_PARAMETER + get_text(name, "a name")] = value
    return found


def _metrics(values: Mapping[str, Any], report: ImportReport) -> dict[str, Scalar]:
    """Keep what is one number, text or truth value; count the rest as lost."""
    report.lost.update(f"metric '{n:.40}'" for n, v in values.items() if not _is_scalar(v))
    scalars = {n: v for n, v in values.items() if _is_scalar(v)}
    return {f"metric {get_text(name, 'a name')}": value for name, value in scalars.items()}


def _is_scalar(value: Any) -> bool:
    if isinstance(value, str):
        return get_text(value, "a value") == value
    if isinstance(value, int):
        return abs(value) < 2**63
    return value is None or isinstance(value, float)


def _time(timestamp: Any) -> datetime:
    """When it was measured, where that can be read; files without a time zone mean UTC."""
    try:
        time = datetime.fromisoformat(timestamp)
        return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return now()


def foreign_target(device: str) -> Target:
    """Return the target that stands for a device of which only the name is known."""
    sizes = ("cores", "vector_bits", "vector_registers", "l1_bytes", "l2_bytes", "l3_bytes")
    values = dict.fromkeys((*sizes, "line_bytes"), 1)
    names = {"kind": "opencl", "arch": device, "model": device, "toolchain": "kernel_tuner"}
    return Target.from_dict({**values, **names, "features": [], "gpu": OPENCL_LIMITS.to_dict()})
