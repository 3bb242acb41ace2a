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


def test_a_lock_that_passes_is_waited_for(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_WAITS_S", (0.0, 0.0))
    outcomes = iter(
        (
            OperationalError("BEGIN", None, sqlite3.OperationalError("database is locked")),
            IntegrityError("INSERT", None, sqlite3.IntegrityError("UNIQUE constraint failed: t")),
        )
    )

    def work(_: Connection) -> str:
        for error in outcomes:
            raise error
        return "done"

    assert sessions.write(work) == "done"


def test_a_lock_that_stays_is_one_clear_line(
    path: Path, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_WAITS_S", (0.0,))
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
