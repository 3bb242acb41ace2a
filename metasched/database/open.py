"""Opens a database by URL; the scheme picks the package that implements it, by entry point."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import cast

from metasched.database.database import AbstractDatabase
from metasched.database.memory import MemoryDatabase
from metasched.errors import UsageError, suggest

ENTRY_POINTS = "metasched.databases"
"""Entry point group: a URL scheme to a function from the URL to an `AbstractDatabase`."""

Opener = Callable[[str], AbstractDatabase]


def open_database(url: str | AbstractDatabase) -> AbstractDatabase:
    """Open the tuning database at ``url``, creating it where there is none.

    Args:
        url: ``"memory:"``, ``"sqlite:///relative.db"``, ``"sqlite:////absolute.db"``,
            ``"postgresql://user@host/name"``, ``"snapshot:winners.msnap"``, or the scheme of an
            installed plug-in. An open database is returned as it is.

    Raises:
        UsageError: The URL has no scheme, or one that nothing implements.
        DatabaseError: The database cannot be opened; the message says what to do.

    >>> open_database("memory:").url
    'memory:'
    """
    if isinstance(url, AbstractDatabase):
        return url
    scheme, colon, _ = url.partition(":")
    if not colon:
        raise UsageError(f"database '{url}' is no URL; for a file write 'sqlite:///{url}'")
    if scheme == "memory":
        return MemoryDatabase()
    if scheme == "snapshot":
        from metasched.database.snapshot import Snapshot

        return Snapshot(url.removeprefix("snapshot:").removeprefix("//"))
    return _opener(scheme)(url)


def _opener(scheme: str) -> Opener:
    # A driver may be named behind a plus sign, as in postgresql+psycopg.
    kind = scheme.partition("+")[0]
    points = entry_points(group=ENTRY_POINTS)
    if kind not in points.names:
        hint = suggest(kind, {"memory", "snapshot", *points.names})
        raise UsageError(f"unknown database scheme '{kind}'{hint}")
    return cast(Opener, points[kind].load())


Database = open_database
"""Public name of `open_database`: ``ms.Database("sqlite:///tuning.db")``."""
