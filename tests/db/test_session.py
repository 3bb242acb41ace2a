from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from metasched_db import open_sql, session
from metasched_db.session import Sessions
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, OperationalError

from metasched.errors import DatabaseError
from metasched.testing.database_records import MATMUL, make_record, make_target


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tuning.db"


@pytest.fixture
def sessions(path: Path) -> Iterator[Sessions]:
    sessions = Sessions(f"sqlite:///{path}")
    yield sessions
    sessions.close()


def pragma(connection: Connection, name: str) -> object:
    return connection.execute(text(f"PRAGMA {name}")).scalar()


def test_every_connection_is_set_up(sessions: Sessions) -> None:
    names = ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
    found = sessions.read(lambda connection: [pragma(connection, name) for name in names])
    assert found == ["wal", 1, session.BUSY_TIMEOUT_MS, 1]


def test_a_write_that_fails_leaves_nothing(sessions: Sessions) -> None:
    sessions.write(lambda connection: connection.execute(text("CREATE TABLE t (x INTEGER)")))

    def fail(connection: Connection) -> None:
        connection.execute(text("INSERT INTO t VALUES (1)"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sessions.write(fail)
    count = sessions.read(lambda c: c.execute(text("SELECT count(*) FROM t")).scalar())
    assert count == 0


def locked() -> OperationalError:
    return OperationalError("BEGIN", None, sqlite3.OperationalError("database is locked"))


def test_a_lock_that_passes_is_waited_for(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(session.time, "sleep", waits.append)
    taken = IntegrityError("INSERT", None, sqlite3.IntegrityError("UNIQUE constraint failed: t"))
    outcomes = iter((*(locked() for _ in range(11)), taken))

    def work(_: Connection) -> str:
        for error in outcomes:
            raise error
        return "done"

    assert sessions.write(work) == "done"
    assert len(waits) == 12
    assert waits[0] <= 0.01
    assert 1.0 <= waits[-1] <= 2.0


def test_a_lock_that_stays_is_one_clear_line(
    path: Path, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "PATIENCE_S", 0.05)
    holder = sqlite3.connect(path, isolation_level=None)
    sessions.write(lambda connection: connection.execute(text("PRAGMA user_version")))
    sessions.read(lambda connection: connection.exec_driver_sql("PRAGMA busy_timeout=1"))
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(
        DatabaseError, match="database is locked; another writer holds it"
    ) as caught:
        sessions.write(lambda connection: None)
    holder.close()
    assert "\n" not in str(caught.value)


def test_a_row_that_is_always_there_is_an_error_soon(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(session.time, "sleep", waits.append)

    def insert(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE t (x INTEGER UNIQUE)"))
        connection.execute(text("INSERT INTO t VALUES (1), (1)"))

    with pytest.raises(DatabaseError, match=r"UNIQUE constraint failed: t\.x"):
        sessions.write(insert)
    assert len(waits) == 16


def test_a_mistake_is_not_tried_again(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: float) -> None:
        raise AssertionError("waited")

    monkeypatch.setattr(session.time, "sleep", fail)
    with pytest.raises(DatabaseError, match="no such table"):
        sessions.read(lambda connection: connection.execute(text("SELECT * FROM absent")))


def test_a_connection_that_is_cut_is_made_anew(postgres_url: str) -> None:
    """A server that restarts, or ends a connection, costs the caller nothing but time."""
    with open_sql(postgres_url) as database:
        database.put(make_record(0))
        cutter = Sessions(postgres_url)
        others = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        cutter.read(lambda connection: connection.execute(text(others)).all())
        database.put(make_record(1))
        cutter.close()
        assert database.stats().records == 2


def test_a_damaged_file_is_one_clear_line(path: Path) -> None:
    with open_sql(f"sqlite:///{path}") as database:
        database.put_many(make_record(index) for index in range(100))
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    with (
        pytest.raises(DatabaseError, match="malformed; the file is damaged, restore a copy"),
        open_sql(f"sqlite:///{path}") as database,
    ):
        database.best(MATMUL.hash, make_target())


def test_a_password_is_not_shown() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(DatabaseError, match="check that the server runs") as caught:
        open_sql("postgresql://me:secret@127.0.0.1:9/name")
    assert "secret" not in str(caught.value)


def test_threads_share_a_database(path: Path) -> None:
    with open_sql(f"sqlite:///{path}") as database:

        def write(thread: int) -> None:
            for index in range(25):
                database.put(make_record(index, program_hash=f"{thread}-{index}"))

        threads = [Thread(target=write, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert database.stats().records == 100
