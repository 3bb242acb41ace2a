"""SQL tuning databases for metasched: SQLite by default, PostgreSQL for teams.

`metasched.open_database` finds this package by its entry points. Read `models` for the tables,
`session` for how connections are set up, then `database`.
"""

from __future__ import annotations

from metasched.database import AbstractDatabase
from metasched.errors import DatabaseError

__all__ = ["open_sql"]


def open_sql(url: str) -> AbstractDatabase:
    """Open the SQL database at ``url``, creating or upgrading its tables where needed.

    Raises:
        DatabaseError: It cannot be opened, is of another program or of a later schema.
    """
    try:
        from metasched_db.database import SqlDatabase
    except ModuleNotFoundError as error:
        raise DatabaseError(
            f"database '{url}' needs {error.name}; install it with `pip install metasched`"
        ) from error
    return SqlDatabase(url)
