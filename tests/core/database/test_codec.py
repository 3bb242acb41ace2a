from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metasched.database import MemoryDatabase
from metasched.database.codec import FORMAT_VERSION, MAX_LINE_BYTES, read_file, write_lines
from metasched.errors import DatabaseError
from metasched.testing.database_records import SOFTMAX, make_record

# Of the lines that `export` below writes.
WORKLOAD, TARGET, RECORD = 2, 3, 4


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "export.jsonl"
    path.write_text("\n".join(write_lines((), (make_record(0),))))
    return path


def edit(path: Path, number: int, change: Callable[[dict[str, Any]], object]) -> None:
    lines = path.read_text().splitlines()
    data = json.loads(lines[number - 1])
    change(data)
    lines[number - 1] = json.dumps(data)
    path.write_text("\n".join(lines))


def replace_line(path: Path, number: int, line: str) -> None:
    lines = path.read_text().splitlines()
    lines[number - 1] = line
    path.write_text("\n".join(lines))


def test_workload_and_target_are_written_once() -> None:
    lines = list(
        write_lines((), (make_record(0), make_record(1), make_record(2, workload=SOFTMAX)))
    )
    kinds = [json.loads(line).get("kind") for line in lines]
    assert kinds == [None, "workload", "target", "record", "record", "workload", "record"]


@pytest.mark.parametrize(
    ("number", "field", "value", "message"),
    [
        (RECORD, "status", "splendid", "unknown status 'splendid'"),
        (RECORD, "status", "wrong_resul", "did you mean 'wrong_result'"),
        (RECORD, "status", "x" * 10_000, "unknown status 'x"),
        (RECORD, "message", "\ud800", "message: expected text, got a lone surrogate"),
        (RECORD, "program_hash", "a\0", "program_hash: expected text"),
        (RECORD, "status", 3, "status: expected str, got int"),
        (RECORD, "workload", "c" * 64, "workload 'c+' is in no earlier line"),
        (RECORD, "target", "mars", "target 'mars' is in no earlier line"),
        (RECORD, "trace", "{", "trace is not JSON"),
        (RECORD, "trace", "7", "trace is not a JSON object or list"),
        (RECORD, "trace", "[" * 100_000, "trace is nested too deeply"),
        (RECORD, "samples_s", ["1"], "samples_s: expected numbers only"),
        (RECORD, "samples_s", [True], "samples_s: expected numbers only"),
        (RECORD, "samples_s", [-1.0], "expected finite seconds"),
        (RECORD, "samples_s", [10**400], "samples_s: a number is too large"),
        (RECORD, "samples_s", [float("nan")], "NaN is not a JSON number"),
        (RECORD, "samples_s", 1.0, "samples_s: expected list, got float"),
        (RECORD, "timers", {"run": None}, "timers: expected numbers only"),
        (RECORD, "evidence", {"max_error": [0]}, "evidence: expected text, numbers"),
        (RECORD, "job_id", "nobody", "job_id 'nobody' is of no job in an earlier line"),
        (RECORD, "created_at", "yesterday", "created_at 'yesterday' is no ISO 8601 time"),
        (RECORD, "created_at", "2024-01-01T00:00:00", "has no time zone"),
        (RECORD, "created_at", "0001-01-01T00:00:00+14:00", "is no ISO 8601 time"),
        (RECORD, "format_version", FORMAT_VERSION + 1, "update metasched"),
        (RECORD, "job_id", [], "is of no job in an earlier line"),
        (RECORD, "format_version", "1", "expected a number from 1 up"),
        (RECORD, "tracee", "{}", "unknown field 'tracee'; did you mean 'trace'"),
        (RECORD, "kind", "recipe", "kind is 'recipe'; expected one of workload"),
        (RECORD, "kind", None, "kind is None"),
        (WORKLOAD, "text", None, "text: expected str, got NoneType"),
        (TARGET, "key", "mars", "target key is 'mars' but its fields give"),
        (TARGET, "fields", {}, "line 3"),
        (1, "format", "tar", "is no export of a tuning database"),
        (1, "version", FORMAT_VERSION + 1, "this metasched reads up to 2; update metasched"),
        (1, "version", True, "expected a number from 1 up"),
    ],
)
def test_a_malformed_field_is_named(
    export: Path, number: int, field: str, value: object, message: str
) -> None:
    edit(export, number, lambda data: data.update({field: value}))
    with MemoryDatabase() as database:
        with pytest.raises(DatabaseError, match=message):
            database.import_(export)
        assert database.stats().records == 0


@pytest.mark.parametrize("field", ["trace", "program_hash", "samples_s", "created_at", "timers"])
def test_a_missing_field_is_named(export: Path, field: str) -> None:
    edit(export, RECORD, lambda data: data.pop(field))
    with pytest.raises(DatabaseError, match=f"line 4: {field}: expected .*, got nothing"):
        list(read_file(export))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "line 3: the line is not JSON"),
        ("[1]", "line 3: expected a JSON object, got list"),
        ("[" * 100_000, "line 3: the line is nested too deeply"),
        ('{"kind": ["record"]}', "line 3: kind is \\['record'\\]"),
        ('{"kind": "target", "key": ' + "1" * 5000 + "}", "line 3: "),
        ('{"kind": "' + "x" * MAX_LINE_BYTES + '"}', "line 3: the line is longer than"),
        ("__import__('os').abort()", "line 3: the line is not JSON"),
    ],
)
def test_a_line_that_is_no_item_is_named(export: Path, line: str, message: str) -> None:
    replace_line(export, 3, line)
    with pytest.raises(DatabaseError, match=message) as caught:
        list(read_file(export))
    assert len(str(caught.value)) < 1000


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(DatabaseError, match="is no export of a tuning database"):
        list(read_file(path))


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"cannot read .*No such file or directory; check"):
        list(read_file(tmp_path / "absent.jsonl"))


def test_an_export_to_an_absent_folder_is_refused(tmp_path: Path) -> None:
    with (
        MemoryDatabase() as database,
        pytest.raises(DatabaseError, match=r"cannot write .*; choose a writable path"),
    ):
        database.export(tmp_path / "absent" / "all.jsonl")
