"""Brings the tables of a database to this release: creates, upgrades or refuses them.

Alembic is imported only when an upgrade is needed; opening a current database costs one SELECT.
"""

from __future__ import annotations

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

from metasched.errors import DatabaseError
from metasched_db.models import Base
from metasched_db.session import Sessions

HEAD = "0002"
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

    Raises:
        DatabaseError: The schema is newer than this release, or the database is another program's.
    """
    version = sessions.read(_read_version)
    if version != HEAD:
        sessions.write(lambda connection: _bring_to_head(connection, sessions.label))


def migrate(connection: Connection, revision: str = "head") -> None:
    """Run the migrations up to ``revision`` on a connection that is in a transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _read_version(connection: Connection) -> str | None:
    try:
        return connection.execute(select(_VERSION.c.version_num)).scalar()
    except (OperationalError, ProgrammingError) as error:
        if "alembic_version" in str(error.orig):
            return None
        raise


def _bring_to_head(connection: Connection, label: str) -> None:
    """Look again under the write lock, since another process may have been first."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    tables = inspect(connection).get_table_names()
    version = _read_version(connection) if _VERSION.name in tables else None
    if version is None:
        _create(connection, tables, label)
    elif version > HEAD or not version.isdecimal():
        raise DatabaseError(
            f"database '{label}' has schema {version}, this metasched knows up to {HEAD};"
            " update metasched, or open another database"
        )
    elif version < HEAD:
        migrate(connection)


def _create(connection: Connection, tables: list[str], label: str) -> None:
    # A test proves that the models and the migrations give the same tables.
    if tables:
        raise DatabaseError(
            f"database '{label}' holds tables of another program ({', '.join(sorted(tables)[:3])});"
            " give metasched a database of its own"
        )
    Base.metadata.create_all(connection)
    _VERSION.create(connection)
    connection.execute(insert(_VERSION).values(version_num=HEAD))
