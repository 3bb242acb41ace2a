"""Connections: one transaction for each call, set up for many writers, errors in one line."""

from __future__ import annotations

import random
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
    # Of a new file: most records fit on a page, which takes a third less room than two of 4 KiB.
    "PRAGMA page_size=8192",
    f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA foreign_keys=ON",
    # In KiB: the upper pages of all indexes of a million records stay at hand.
    "PRAGMA cache_size=-16384",
)
PATIENCE_S = 120.0
"""How long a call is tried again before a lock, or a server that is away, is an error."""

_FIRST_WAIT_S = 0.01
_COLLISIONS = 16
_LONGEST_WAIT_S = 2.0
_PASSING = ("locked", "busy", "deadlock", "serialize", "starting up", "shutting down")
_RANDOM = random.Random()


@final
class Sessions:
    """Runs functions on a connection, each in a transaction of its own; safe from any thread."""

    def __init__(self, text: str) -> None:
        url = check_url(text)
        self.text = text
        self.label = url.render_as_string(hide_password=True)
        self._closed = False
        self._refusal = ""
        self._was_connected = False
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
        if self._refusal:
            raise DatabaseError(self._refusal)
        return self._run(self._writer, work)

    def refuse_writes(self, reason: str) -> None:
        """Make every later `write` fail with ``reason``."""
        self._refusal = reason

    def close(self) -> None:
        """Close all connections."""
        self._closed = True
        self._engine.dispose()

    def _run(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        if self._closed:
            raise closed(self.label)
        deadline_s = time.monotonic() + PATIENCE_S
        longest_s, collisions = _FIRST_WAIT_S, 0
        while True:
            try:
                result = _once(engine, work)
            except SQLAlchemyError as error:
                may_pass = _may_pass(error) or (self._was_connected and _is_away(error))
                # Another writer is first with a row so many times only if it is no other writer.
                collisions += isinstance(error, IntegrityError)
                if not may_pass or time.monotonic() > deadline_s or collisions > _COLLISIONS:
                    raise self._error(error) from error
            else:
                self._was_connected = True
                return result
            # Waits grow, and are drawn, so that writers that met once do not meet again.
            time.sleep(_RANDOM.uniform(longest_s / 2, longest_s))
            longest_s = min(2 * longest_s, _LONGEST_WAIT_S)

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


def _is_away(error: SQLAlchemyError) -> bool:
    """Whether a server cannot be reached; one that was there may come back."""
    return isinstance(error, OperationalError) and "connection" in str(error.orig).lower()


def _may_pass(error: SQLAlchemyError) -> bool:
    """Whether another attempt can succeed.

    That is so after a lock, a row that another writer was first with, and a connection that was
    lost: writing again what the server did commit changes nothing.
    """
    if isinstance(error, IntegrityError):
        return "unique" in str(error.orig).lower()
    if not isinstance(error, DBAPIError):
        return False
    text = str(error.orig).lower()
    passing = isinstance(error, OperationalError) and any(word in text for word in _PASSING)
    return passing or error.connection_invalidated


def _remedy(reason: str) -> str:
    remedies = {
        "locked": "another writer holds it for too long, end it and try again",
        "full": "free some space, everything committed so far is kept",
        "malformed": "the file is damaged, restore a copy or import an export",
        "unable to open": "check that the path is readable and writable",
        "readonly": "make the file and its directory writable",
        "no such column": "its schema is not the one it says, or is newer than this metasched",
        "connect": "check that the server runs and that the URL is right",
    }
    known = (text for word, text in remedies.items() if word in reason)
    return next(known, "check the database and try again")
