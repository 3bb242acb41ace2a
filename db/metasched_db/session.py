"""Connections: one transaction for each call, set up for many writers, errors in one line."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar, final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError

from metasched.database.refusals import closed
from metasched.errors import DatabaseError
from metasched_db.location import check_url

T = TypeVar("T")

BUSY_TIMEOUT_MS = 30_000
"""How long SQLite itself waits for another writer before it says that the file is locked."""

_PRAGMAS = (
    f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA foreign_keys=ON",
)
_WAITS_S = (0.05, 0.2, 0.8, 3.2)
_PASSING = ("locked", "busy", "deadlock", "serialize")


@final
class Sessions:
    """Runs functions on a connection, each in a transaction of its own; safe from any thread."""

    def __init__(self, text: str) -> None:
        url = check_url(text)
        self.text = text
        self.label = url.render_as_string(hide_password=True)
        self._closed = False
        self._engine = _create_engine(url, self.label)
        self._writer = self._engine.execution_options(immediate=True)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` returns; it must not write."""
        return self._run(self._engine, work)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` returns, committed; it may run again when another writer was first.

        The write lock is taken at the start: a transaction that reads first and then finds
        another writer's commit could only fail.
        """
        return self._run(self._writer, work)

    def close(self) -> None:
        """Close all connections."""
        self._closed = True
        self._engine.dispose()

    def _run(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        if self._closed:
            raise closed(self.label)
        for wait_s in _WAITS_S:
            try:
                return _once(engine, work)
            except DBAPIError as error:
                if not _may_pass(error):
                    raise self._error(error) from error
            time.sleep(wait_s)
        try:
            return _once(engine, work)
        except SQLAlchemyError as error:
            raise self._error(error) from error

    def _error(self, error: SQLAlchemyError) -> DatabaseError:
        cause = error.orig if isinstance(error, DBAPIError) else error
        reason = str(cause).strip().partition("\n")[0]
        return DatabaseError(f"database '{self.label}': {reason}; {_remedy(reason)}")


def _once(engine: Engine, work: Callable[[Connection], T]) -> T:
    with engine.begin() as connection:
        return work(connection)


def _create_engine(url: Any, label: str) -> Engine:
    try:
        engine = create_engine(url)
    except ModuleNotFoundError as error:
        raise DatabaseError(
            f"database '{label}' needs {error.name};"
            " install it with `pip install 'metasched[postgres]'`"
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up)
        event.listen(engine, "begin", _begin)
    return engine


def _set_up(connection: Any, _: object) -> None:
    # Python's own transaction handling would start writes late; `_begin` starts them instead.
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _may_pass(error: DBAPIError) -> bool:
    """Whether another attempt can succeed: a lock, or a row that another writer was first with."""
    if isinstance(error, IntegrityError):
        return "unique" in str(error.orig).lower()
    text = str(error.orig).lower()
    return isinstance(error, OperationalError) and any(word in text for word in _PASSING)


def _remedy(reason: str) -> str:
    remedies = {
        "locked": "another writer holds it for too long, end it and try again",
        "full": "free some space, everything committed so far is kept",
        "malformed": "the file is damaged, restore a copy or import an export",
        "unable to open": "check that the path is readable and writable",
        "readonly": "make the file and its directory writable",
        "connect": "check that the server runs and that the URL is right",
    }
    known = (text for word, text in remedies.items() if word in reason)
    return next(known, "check the database and try again")
