"""Creating, upgrading and refusing schemas; `data` holds a database of each one.

`data/make_schema.py` makes the one of a new schema; those of a release are never made again.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from metasched_db import open_sql, schema
from metasched_db.models import Base
from metasched_db.schema import HEAD, change_schema, ensure_schema, migrate, revisions
from metasched_db.session import Sessions
from sqlalchemy import Connection, inspect, text

from metasched.errors import DatabaseError, UsageError
from metasched.measure.records import Status
from metasched.testing.database_records import MATMUL, make_record, make_target

DATA = Path(__file__).parent / "data"
FIRST = DATA / "schema_0001.sqlite"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tuning.db"


def stamp(path: Path, version: str) -> None:
    open_sql(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
    connection.close()


def describe(connection: Connection) -> object:
    """Return all that a schema is made of, by table."""
    found = inspect(connection)
    return {
        name: (
            [{**column, "type": str(column["type"])} for column in found.get_columns(name)],
            found.get_pk_constraint(name),
            sorted(found.get_indexes(name), key=str),
            sorted(found.get_foreign_keys(name), key=str),
            sorted(found.get_unique_constraints(name), key=str),
        )
        for name in found.get_table_names()
    }


def contents(connection: Connection) -> object:
    """Return all rows, by table."""
    names = inspect(connection).get_table_names()
    return {n: sorted(connection.execute(text(f"SELECT * FROM {n}")).all(), key=str) for n in names}


def test_head_is_the_last_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [HEAD]
    assert all(script.revision.isdecimal() for script in scripts.walk_revisions())


def test_a_fresh_file_equals_the_migrations(path: Path, tmp_path: Path) -> None:
    open_sql(f"sqlite:///{path}").close()
    created, migrated = Sessions(f"sqlite:///{path}"), Sessions(f"sqlite:///{tmp_path / 'm.db'}")
    migrated.write(migrate)
    assert created.read(describe) == migrated.read(describe)
    assert migrated.read(_differences_from_models) == []
    created.close()
    migrated.close()


def _differences_from_models(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return compare_metadata(context, Base.metadata)


def test_a_file_of_the_first_schema_is_upgraded(path: Path) -> None:
    shutil.copy(FIRST, path)
    with open_sql(f"sqlite:///{path}") as database:
        records = list(database.records())
        assert [record.status for record in records] == [Status.OK, Status.OK, Status.WRONG_RESULT]
        slow, fast, wrong = records
        assert (slow.samples_s, fast.samples_s) == ((0.003, 0.002, 0.0025), (0.001,))
        assert database.best(fast.workload.hash, fast.target) == fast
        assert fast.workload.name == "matmul"
        assert fast.evidence == {
            "reference_hash": "r",
            "seed": 7,
            "tolerance": 1e-4,
            "max_error": 0,
        }
        assert wrong.message == "element 3 differs"
        assert [job.settings for job in database.jobs()] == [{"trials": 3}]
        database.save_model("cpu", "xgboost", "{}")
        assert database.load_model("cpu", "xgboost") == "{}"
        assert database.explain_miss("x", fast.target)
    sessions = Sessions(f"sqlite:///{path}")
    assert sessions.read(_differences_from_models) == []
    sessions.close()


def test_a_failed_upgrade_leaves_the_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(FIRST, path)

    def fail_after(connection: Connection) -> None:
        migrate(connection)
        raise KeyboardInterrupt

    monkeypatch.setattr(schema, "migrate", fail_after)
    with pytest.raises(KeyboardInterrupt):
        open_sql(f"sqlite:///{path}")
    monkeypatch.undo()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    assert "models" not in tables
    open_sql(f"sqlite:///{path}").close()


def test_a_later_schema_is_open_for_reading_only(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_sql(f"sqlite:///{path}") as database:
        database.put(make_record(0))
    stamp(path, "0099")
    with open_sql(f"sqlite:///{path}") as database:
        assert f"has schema 0099, this metasched writes {HEAD}" in caplog.text
        assert database.best(MATMUL.hash, make_target()) == make_record(0)
        with pytest.raises(DatabaseError, match="open for reading only: update metasched"):
            database.put(make_record(1))
        with pytest.raises(DatabaseError, match="open for reading only"):
            database.start_job({})
        with pytest.raises(DatabaseError, match="open for reading only"):
            database.prune(1)
        assert database.stats().records == 1


def test_a_schema_of_no_number_is_refused(path: Path) -> None:
    stamp(path, "abc")
    with pytest.raises(DatabaseError, match="has schema abc, which is no schema of metasched's"):
        open_sql(f"sqlite:///{path}")


@pytest.mark.parametrize("revision", revisions())
def test_there_is_a_stored_database_of_each_schema(revision: str) -> None:
    with sqlite3.connect(DATA / f"schema_{revision}.sqlite") as connection:
        stored = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    connection.close()
    assert stored == [(revision,)]


@pytest.mark.parametrize("revision", revisions())
def test_each_schema_goes_to_the_newest_and_back(path: Path, revision: str) -> None:
    """What was on record before is there after; the tables are those that the release made."""
    shutil.copy(DATA / f"schema_{revision}.sqlite", path)
    sessions = Sessions(f"sqlite:///{path}")
    schema_before, rows_before = sessions.read(describe), sessions.read(contents)
    ensure_schema(sessions)
    assert sessions.read(_differences_from_models) == []
    with open_sql(f"sqlite:///{path}") as database:
        counted = database.stats()
        assert (counted.records, counted.servable, counted.jobs) == (3, 2, 1)
    change_schema(sessions, revision)
    assert sessions.read(describe) == schema_before
    assert sessions.read(contents) == rows_before
    sessions.close()


def test_migrations_go_both_ways_on_any_database(any_url: str) -> None:
    with open_sql(any_url) as database:
        job = database.start_job({"trials": 2})
        records = [make_record(0, job_id=job.id), make_record(1)]
        database.put_many(records)
        database.change_schema(revisions()[0])
    with open_sql(any_url) as database:
        assert list(database.records()) == records
        assert database.jobs() == (job,)
        with pytest.raises(UsageError, match="unknown schema '9999'; known: 0001"):
            database.change_schema("9999")


def test_tables_of_another_program_are_refused(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE trials (id INTEGER)")
    connection.close()
    with pytest.raises(
        DatabaseError, match=r"tables of another program \(trials\); give metasched"
    ):
        open_sql(f"sqlite:///{path}")
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("trials",)]
    connection.close()


def test_opening_a_current_file_imports_no_alembic(path: Path) -> None:
    open_sql(f"sqlite:///{path}").close()
    code = (
        "import sys; from metasched_db import open_sql;"
        f" open_sql('sqlite:///{path}').close(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "sqlalchemy" in done.stdout.split()
    assert "alembic" not in done.stdout.split()
