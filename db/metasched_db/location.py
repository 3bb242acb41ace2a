"""Checks a database URL before anything is opened, so that a wrong one gets one clear line."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from metasched.errors import DatabaseError, UsageError
from metasched_db.file_systems import unsafe_mount

_SQLITE_HEADER = b"SQLite format 3\0"
_DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}


def check_url(text: str) -> URL:
    """Return the parsed URL with its driver named; a SQLite file is one that can be opened.

    Raises:
        UsageError: It is no URL, or names no file.
        DatabaseError: The file or its directory cannot be used.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise UsageError(
            f"database '{text}' is no URL; expected 'sqlite:///file.db' or"
            " 'postgresql://user@host/name'"
        ) from error
    url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
    if url.get_backend_name() == "sqlite":
        _check_file_url(text, url)
    return url


def _check_file_url(text: str, url: URL) -> None:
    if url.host:
        raise UsageError(
            f"database '{text}' names a host; for a file write 'sqlite:///{url.host}' with three"
            " slashes, or four before an absolute path"
        )
    if url.database in (None, "", ":memory:"):
        raise UsageError(f"database '{text}' names no file; to keep nothing write 'memory:'")
    _check_file(Path(str(url.database)))


def _check_file(path: Path) -> None:
    folder = path.parent
    if not folder.is_dir():
        raise DatabaseError(
            f"database directory '{folder}' does not exist; create it with `mkdir -p {folder}`"
        )
    if path.is_dir():
        raise DatabaseError(f"database '{path}' is a directory; give the path of a file in it")
    if mount := unsafe_mount(folder):
        raise DatabaseError(
            f"database '{path}' would lie on {mount.type} (mounted at {mount.point}), where the"
            " locks of SQLite do not hold and writers damage the file; give a path on a local disk,"
            " or share a PostgreSQL server: postgresql://user@host/name"
        )
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise DatabaseError(f"database '{path}' is not writable; choose another path")
    if not path.exists():
        return
    with path.open("rb") as file:
        header = file.read(len(_SQLITE_HEADER))
    if header not in (b"", _SQLITE_HEADER):
        raise DatabaseError(
            f"'{path}' is not an SQLite file; choose another path, or use"
            " `metasched db import` if it is an export"
        )
