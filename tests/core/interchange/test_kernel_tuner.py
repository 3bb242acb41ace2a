from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from metasched.database import MemoryDatabase
from metasched.errors import DatabaseError
from metasched.interchange import import_foreign
from metasched.interchange.kernel_tuner import read_cache, read_t4
from metasched.measure.records import Status
from tests.core.cli.conftest import Cli
from tests.core.cli.conftest import cli as cli

CACHE: dict[str, Any] = {
    "device_name": "Example GPU",
    "kernel_name": "vector_add",
    "problem_size": [1_000_000],
    "tune_params_keys": ["block_size_x", "layout"],
    "tune_params": {"block_size_x": [32, 64], "layout": ["row"]},
    "objective": "time",
    "cache": {
        "32,row": {
            "block_size_x": 32, "layout": "row", "time": 0.25, "times": [0.2, 0.25, 0.3],
            "GFLOP/s": 12.5, "powers": [3.0], "compile_time": 400.0,
            "timestamp": "2024-01-01 00:00:00",
        },
        "64,row": {"block_size_x": 64, "layout": "row", "time": "CompilationFailedConfig"},
        "96,row": {"block_size_x": 96, "layout": "row", "time": "EatenByDog"},
    },
}  # fmt: skip
T4: dict[str, Any] = {
    "schema_version": "1.0.0",
    "results": [
        {
            "timestamp": "2024-01-01", "configuration": {"tile": 4, "unroll": True},
            "objectives": ["time"], "invalidity": "correct", "correctness": 1,
            "times": {"compilation_time": 300, "validation": 1, "runtimes": [1.0, 2.0]},
            "measurements": [
                {"name": "time", "value": 1.5, "unit": "ms"},
                {"name": "energy", "value": 3, "unit": "J"},
            ],
        },
        {"configuration": {"tile": 8, "unroll": False}, "invalidity": "runtime"},
        {"configuration": {"tile": [8]}, "invalidity": "correct"},
    ],
}  # fmt: skip

NO_SOURCE = "the kernel itself: its source is not in the file, so no record is served"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[object], Path]:
    def to(value: object) -> Path:
        path = tmp_path / "file.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return path

    return to


def test_a_cache_file(write: Callable[[object], Path]) -> None:
    report = read_cache(write(CACHE))
    fast, failed = report.records
    assert (fast.workload.name, fast.target.model) == ("vector_add", "Example GPU")
    assert fast.samples_s == pytest.approx((2e-4, 2.5e-4, 3e-4))
    assert fast.timers["build"] == pytest.approx(0.4)
    assert fast.evidence["parameter block_size_x"] == 32
    assert fast.evidence["parameter layout"] == "row"
    assert (failed.status, failed.samples_s) == (Status.BUILD_ERROR, ())
    assert not fast.is_servable
    assert report.skipped == {"unknown outcome 'EatenByDog'": 1}
    assert fast.evidence["metric GFLOP/s"] == 12.5
    assert fast.created_at == datetime(2024, 1, 1, tzinfo=UTC)
    assert report.lost == {"metric 'powers'": 1, NO_SOURCE: 2}


def test_a_cache_file_that_was_left_open(write: Callable[[object], Path]) -> None:
    text = json.dumps(CACHE)
    assert len(read_cache(write(text[: text.index(', "96,row"')] + ",\n")).records) == 2


def test_a_t4_file(write: Callable[[object], Path]) -> None:
    report = read_t4(write(T4))
    fast, failed = report.records
    assert fast.samples_s == pytest.approx((1e-3, 2e-3))
    assert fast.evidence["parameter unroll"] is True
    assert failed.status is Status.RUN_ERROR
    assert report.skipped == {"parameter 'tile' is no number, text or truth value": 1}
    assert fast.evidence["metric energy J"] == 3
    assert fast.timers == {"build": pytest.approx(0.3), "check": pytest.approx(1e-3)}
    assert report.lost == {NO_SOURCE: 2}


def test_a_t4_file_as_they_are_published(write: Callable[[object], Path]) -> None:
    """Its unit of time is empty or misspelled, and a failure has a word where a time should be."""
    of = {"configuration": {"tile": 4}, "times": {"compilation": 2.0}}
    time = {"name": "time", "value": 1.5, "unit": "miliseconds"}
    failed = {"name": "time", "value": "RuntimeFailedConfig", "unit": ""}
    fine = {**of, "invalidity": "correct", "measurements": [time]}
    path = write({"results": [fine, {**of, "invalidity": "runtime", "measurements": [failed]}]})
    fast, slow = read_t4(path).records
    assert fast.samples_s == pytest.approx((1.5e-3,))
    assert (slow.status, slow.samples_s) == (Status.RUN_ERROR, ())


def test_a_cache_file_of_another_objective_has_no_times(
    write: Callable[[object], Path],
) -> None:
    entry = {"block_size_x": 32, "layout": "row", "score": -1.5}
    (record,) = read_cache(write({**CACHE, "cache": {"32,row": entry}})).records
    assert (record.status, record.samples_s) == (Status.OK, ())
    assert record.evidence["metric score"] == -1.5


@pytest.mark.parametrize("timestamp", [None, 3, "yesterday", "0001-01-01T00:00+14:00"])
def test_a_time_that_cannot_be_read_is_no_reason_to_lose_the_record(
    write: Callable[[object], Path], timestamp: object
) -> None:
    entry = {"block_size_x": 32, "layout": "row", "time": 0.25, "timestamp": timestamp}
    (record,) = read_cache(write({**CACHE, "cache": {"32,row": entry}})).records
    assert record.samples_s == pytest.approx((2.5e-4,))


@pytest.mark.parametrize("read", [read_t4, read_cache])
@pytest.mark.parametrize(
    "value", ["", "[]", "{", "null", '{"results": 3}', '{"cache": []}', "[" * 100_000]
)
def test_a_file_of_another_kind_is_refused(
    write: Callable[[object], Path], read: Callable[[Path], object], value: str
) -> None:
    with pytest.raises(DatabaseError, match=r"is no (T4|cache) file: "):
        read(write(value))


def test_nothing_of_it_is_served(write: Callable[[object], Path]) -> None:
    with MemoryDatabase() as database:
        report = import_foreign(database, write(CACHE), "kernel-tuner")
        (workload,) = database.workloads()
        assert database.best(workload.hash, report.records[0].target) is None
        assert database.stats().by_status == {Status.OK: 1, Status.BUILD_ERROR: 1}


def test_the_command_reports_what_was_lost(cli: Cli, write: Callable[[object], Path]) -> None:
    path = write(CACHE)
    done = cli("db", "import", str(path), "--format", "kernel-tuner")
    assert done.status == 0
    lines = done.out.splitlines()
    assert lines[0] == "read 2 records of kernel_tuner cache into sqlite:///metasched.db"
    assert "skipped 1: unknown outcome 'EatenByDog'" in lines
    assert any(line.startswith("lost 2: the kernel itself") for line in lines)
    found = json.loads(cli("db", "import", str(path), "--format", "kernel-tuner", "--json").out)
    assert (found["format"], found["records"]) == ("kernel_tuner cache", 2)
