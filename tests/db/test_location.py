from __future__ import annotations

import os
from pathlib import Path

import pytest
from metasched_db import open_sql
from metasched_db.location import check_url

from metasched.errors import DatabaseError, UsageError


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:tuning.db", "is no URL; expected 'sqlite:///file.db' or"),
        ("sqlite://tuning.db", "names a host; for a file write 'sqlite:///tuning.db'"),
        ("sqlite://", "names no file; to keep nothing write 'memory:'"),
        ("sqlite:///:memory:", "names no file; to keep nothing write 'memory:'"),
        ("postgresql://host:port/name", "is no URL; expected"),
    ],
)
def test_a_malformed_url_is_refused(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_sql(url)


def test_an_absent_directory_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "absent"
    with pytest.raises(DatabaseError, match=f"'{folder}' does not exist; create it with `mkdir -p"):
        open_sql(f"sqlite:///{folder}/tuning.db")
    assert not folder.exists()


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="is a directory; give the path of a file in it"):
        open_sql(f"sqlite:///{tmp_path}")


def test_an_unwritable_path_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bool:
        return False

    # The superuser may write everywhere, so the answer of the system is replaced.
    monkeypatch.setattr(os, "access", refuse)
    with pytest.raises(DatabaseError, match="is not writable; choose another path"):
        open_sql(f"sqlite:///{tmp_path / 'tuning.db'}")


def test_a_file_that_is_not_sqlite_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("important")
    with pytest.raises(DatabaseError, match="is not an SQLite file; choose another path"):
        open_sql(f"sqlite:///{path}")
    assert path.read_text() == "important"
    assert [other.name for other in tmp_path.iterdir()] == ["notes.txt"]


def test_an_empty_file_is_filled(tmp_path: Path) -> None:
    path = tmp_path / "tuning.db"
    path.touch()
    with open_sql(f"sqlite:///{path}") as database:
        assert database.stats().records == 0


def test_a_relative_path_is_taken_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    open_sql("sqlite:///tuning.db").close()
    assert (tmp_path / "tuning.db").is_file()


def test_the_driver_of_a_server_is_named() -> None:
    assert check_url("postgresql://me@host/name").drivername == "postgresql+psycopg"
    assert check_url("postgresql+pg8000://me@host/name").drivername == "postgresql+pg8000"
