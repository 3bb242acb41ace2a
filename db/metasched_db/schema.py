"""Brings the tables of a database to this release: creates, upgrades or refuses them.

Alembic is imported only when an upgrade is needed; opening a current database costs one SELECT.
"""

from __future__ import annotations

import logging
from pathlib import Path

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import OperationalError, ProgrammingError

from metasched.errors import DatabaseError, UsageError, suggest
from metasched_db.migrations.views_0003 import create_views
from metasched_db.models import Base
from metasched_db.session import Sessions

HEAD = "0004"
"""The newest migration; a test compares it with the folder of migrations."""

_LOCK = 7_365_142  # an arbitrary number that names the creation of tables on a server
# As Alembic makes it, with the constraint's name.
_VERSION = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


def ensure_schema(sessions: Sessions) -> None:
    """Create or upgrade the tables so that they are those of `models`.

    A database of a later schema is opened for reading: later schemas add, and what they change
    beyond that is an error of the first query.

    Raises:
        DatabaseError: The database is another program's.
    """
    version = sessions.read(_read_version)
    if version != HEAD:
        version = sessions.write(lambda connection: _bring_to_head(connection, sessions.label))
    if version > HEAD:
        reason = (
            f"database '{sessions.label}' has schema {version}, this metasched writes {HEAD}; it is"
            " open for reading only: update metasched to write"
        )
        sessions.refuse_writes(reason)
        logging.getLogger(__name__).warning(reason)


def change_schema(sessions: Sessions, revision: str) -> None:
    """Bring the tables to the schema of an earlier release, or back up again.

    Raises:
        UsageError: There is no such schema.
        DatabaseError: The database is another program's, or of a later schema.
    """
    if revision not in (known := revisions()):
        raise UsageError(f"unknown schema '{revision}'{suggest(revision, known)}")
    ensure_schema(sessions)
    sessions.write(lambda connection: migrate(connection, revision))


def revisions() -> tuple[str, ...]:
    """The schemas of all releases, the first one first."""
    files = (Path(__file__).parent / "migrations" / "versions").glob("v*.py")
    return tuple(sorted(path.name[1:5] for path in files))


def migrate(connection: Connection, revision: str = HEAD) -> None:
    """Run the migrations to ``revision``, up or down, on a connection that is in a transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    current = _read_version(connection) if inspect(connection).has_table(_VERSION.name) else None
    run = command.downgrade if current is not None and current > revision else command.upgrade
    run(config, revision)


def _read_version(connection: Connection) -> str | None:
    try:
        return connection.execute(select(_VERSION.c.version_num)).scalar()
    except (OperationalError, ProgrammingError) as error:
        if "alembic_version" in str(error.orig):
            return None
        raise


def _bring_to_head(connection: Connection, label: str) -> str:
    """Look again under the write lock, since another process may have been first."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    tables = inspect(connection).get_table_names()
    version = _read_version(connection) if _VERSION.name in tables else None
    if version is None:
        _create(connection, tables, label)
    elif not version.isdecimal():
        raise DatabaseError(
            f"database '{label}' has schema {version}, which is no schema of metasched's;"
            " give metasched a database of its own"
        )
    elif version >= HEAD:
        return version
    else:
        migrate(connection)
    return HEAD


def _create(connection: Connection, tables: list[str], label: str) -> None:
    # A test proves that the models and the migrations give the same tables.
    if tables:
        raise DatabaseError(
            f"database '{label}' holds tables of another program ({', '.join(sorted(tables)[:3])});"
            " give metasched a database of its own"
        )
    Base.metadata.create_all(connection)
    create_views(connection)
    _VERSION.create(connection)
    connection.execute(insert(_VERSION).values(version_num=HEAD))
