"""A lookup must not slow down as records come in, so its plan and its work are checked."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from metasched_db import open_sql, statements
from sqlalchemy.dialects import sqlite

from metasched.testing.database_records import MATMUL, make_record, make_target


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tuning.db"


def top_sql(k: int) -> tuple[str, tuple[object, ...]]:
    compiled = statements.TOP.compile(dialect=sqlite.dialect())
    values = {"workload": MATMUL.hash, "target": make_target().key(), "k": k}
    parameters = compiled.construct_params(values)
    return str(compiled), tuple(parameters[name] for name in compiled.positiontup or ())


def work(path: Path, k: int) -> int:
    """Return how many virtual machine steps, in hundreds, SQLite takes for a lookup."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection = sqlite3.connect(path)
    connection.set_progress_handler(count, 100)
    rows = connection.execute(*top_sql(k)).fetchall()
    connection.close()
    assert len(rows) == k
    return steps


def test_a_lookup_is_one_range_of_the_index(path: Path) -> None:
    open_sql(f"sqlite:///{path}").close()
    connection = sqlite3.connect(path)
    sql, values = top_sql(5)
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    connection.close()
    (search,) = (step for step in plan if "records" in step)
    assert "USING INDEX ix_records_best (workload_id=? AND target_id=? AND status=?" in search
    assert not any(step.startswith("SCAN") or "TEMP B-TREE" in step for step in plan)


def test_a_lookup_does_the_same_work_on_more_records(path: Path) -> None:
    with open_sql(f"sqlite:///{path}") as database:
        database.put_many(make_record(index) for index in range(10))
        few = work(path, 5)
        database.put_many(make_record(index) for index in range(10, 3000))
        many = work(path, 5)
    assert many <= few + 1
