"""Checks that every importer keeps its promise on any file: no crash, no partial import.

A check takes the bytes of a file and returns whether it was imported. It raises where something
else than one of metasched's own errors came out, or where a refused file left something behind.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from metasched.database import AbstractDatabase, MemoryDatabase, Snapshot, write_snapshot
from metasched.database.records import Workload
from metasched.errors import DatabaseError, MetaschedError
from metasched.interchange import import_foreign
from metasched.measure.records import Status
from metasched.ops import matmul
from metasched.shapes import Dispatch
from metasched.testing.database_records import (
    MATMUL,
    make_failure,
    make_record,
    make_target,
)
from metasched.testing.tvm_graphs import encoded, row_maxima

Check = Callable[[bytes], bool]


def mutated(data: bytes, seed: int, count: int) -> bytes:
    """Bytes changed, taken out, doubled or put in, at so many places."""
    rng, out = random.Random(seed), bytearray(data)
    for _ in range(count):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(4):
            case 0:
                out[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del out[at : at + rng.choice((1, 2, 8, 64))]
            case 2:
                out[at:at] = out[at : at + rng.choice((1, 4, 32))]
            case _:
                out[at:at] = rng.choice((b'"', b"{", b"[", b"-", b"1e999", b"null", b"\0", b"\xff"))
    return bytes(out)


def _with_file(data: bytes, use: Callable[[AbstractDatabase, Path], object]) -> bool:
    with TemporaryDirectory() as folder, MemoryDatabase() as database:
        path = Path(folder) / "file.json"
        path.write_bytes(data)
        message = ""
        try:
            use(database, path)
        except MetaschedError as error:
            message = str(error)
        if message:
            assert len(message) < 2000, "an error is one line and not the file"
            assert database.stats().records == 0, "a refused file left records"
            assert database.jobs() == (), "a refused file left jobs"
        return not message


def check_export(data: bytes) -> bool:
    """An export of a tuning database."""
    return _with_file(data, lambda database, path: database.import_(path))


def check_tvm(data: bytes) -> bool:
    """A JSON database of TVM's MetaSchedule."""
    programs = [matmul(m=64, n=48, k=32)]
    return _with_file(
        data, lambda database, path: import_foreign(database, path, "tvm", programs=programs)
    )


def check_tvm_program(data: bytes) -> bool:
    """The graph of a program in such a database; a record refers to it."""

    def use(database: AbstractDatabase, path: Path) -> None:
        (path.parent / "database_workload.json").write_text(json.dumps(["1", encoded(data)]))
        path.write_text(json.dumps([0, [[[_GET_BLOCK], []], [1e-4], {}, []]]))
        report = import_foreign(database, path, "tvm")
        if not report.records:
            raise DatabaseError("skipped")

    return _with_file(data, use)


def check_t4(data: bytes) -> bool:
    """A T4 file of Kernel Tuner."""
    return _with_file(data, lambda database, path: import_foreign(database, path, "t4"))


def check_cache(data: bytes) -> bool:
    """A cache file of Kernel Tuner."""
    return _with_file(data, lambda database, path: import_foreign(database, path, "kernel-tuner"))


def check_snapshot(data: bytes) -> bool:
    """A snapshot: a lookup gives a record of the program and target, nothing, or an error."""

    def use(_: AbstractDatabase, path: Path) -> None:
        with Snapshot(path) as snapshot:
            found = snapshot.best(MATMUL.hash, make_target())
            assert found is None or found.is_servable
            for record in snapshot.records():
                assert record.is_servable

    return _with_file(data, use)


def check_dispatch(data: bytes) -> bool:
    """A dispatch tree."""
    try:
        Dispatch.from_json(data.decode(errors="replace")).choice(7)
    except MetaschedError:
        return False
    return True


CHECKS: Final[dict[str, Check]] = {
    "export": check_export,
    "tvm": check_tvm,
    "tvm-program": check_tvm_program,
    "t4": check_t4,
    "kernel-tuner": check_cache,
    "snapshot": check_snapshot,
    "dispatch": check_dispatch,
}


@cache
def _source() -> MemoryDatabase:
    database = MemoryDatabase()
    job = database.start_job({"trials": 3})
    program = matmul(m=8, n=8, k=8)
    database.put_many((make_record(0, job_id=job.id), make_failure(1, Status.BUILD_ERROR)))
    database.put(make_record(2, workload=Workload.from_program(program)))
    return database


@cache
def _file(write: Callable[[Path], object]) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        write(path)
        return path.read_bytes()


def _snapshot(path: Path) -> int:
    return write_snapshot(_source(), path)


_TVM_STEPS: Final[list[Any]] = [
    ["GetSBlock", [], ["c", "main"], ["b0"]],
    ["GetLoops", ["b0"], [], ["l1", "l2", "l3"]],
    ["SamplePerfectTile", ["l1"], [2, 64], ["v4", "v5"]],
    ["Split", ["l1", "v4", "v5"], [1, 0], ["l6", "l7"]],
    ["Annotate", ["b0", '"SSRSRS"'], ["meta_schedule.tiling_structure"], []],
    ["CacheWrite", ["b0", []], [0, "global"], ["b8"]],
    ["SampleCategorical", [], [[0, 16], [0.5, 0.5]], ["v9"]],
]
_GET_BLOCK: Final = ["GetSBlock", [], ["m", "main"], ["b0"]]
_TVM: Final[list[Any]] = [
    0,
    [
        [_TVM_STEPS, [[2, [16, 4]], [6, 1]]],
        [1e-4, 2e-4],
        {"kind": "llvm"},
        [["TENSOR", "float32", s] for s in ([64, 32], [32, 48], [64, 48])],
    ],
]
_CACHED: Final = {"block": 32, "time": 0.25, "times": [0.2, 0.3], "compile_time": 4.0}
_CACHE: Final = {
    "device_name": "a device",
    "kernel_name": "a kernel",
    "problem_size": [100, 1],
    "tune_params_keys": ["block"],
    "cache": {"32": _CACHED, "64": {"block": 64, "time": "CompilationFailedConfig"}},
}
_RESULT: Final = {
    "configuration": {"tile": 4},
    "invalidity": "correct",
    "times": {"compilation_time": 3, "runtimes": [1.0, 2.0]},
    "measurements": [{"name": "time", "value": 1.5, "unit": "ms"}],
}

SEEDS: Final[dict[str, Callable[[], bytes]]] = {
    "export": lambda: _file(_source().export),
    "tvm": lambda: b"\n".join([json.dumps(_TVM).encode()] * 2),
    "tvm-program": lambda: json.dumps(row_maxima()).encode(),
    "t4": lambda: json.dumps({"schema_version": "1.0.0", "results": [_RESULT]}).encode(),
    "kernel-tuner": lambda: json.dumps(_CACHE).encode(),
    "snapshot": lambda: _file(_snapshot),
    "dispatch": lambda: (
        b'{"version":1,"choices":[["{}",8,"cover"]],"guards":[[8,0]],"losses":[[8,1.0,0.5]]}'
    ),
}
