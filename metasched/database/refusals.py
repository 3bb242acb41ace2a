"""Refusals that every database words alike."""

from __future__ import annotations

from metasched.errors import DatabaseError, UsageError


def check_count(method: str, name: str, value: int) -> int:
    """Return ``value``.

    Raises:
        UsageError: It is below one.
    """
    if value < 1:
        raise UsageError(f"{method}: {name} is {value}; expected a count of at least 1")
    return value


def closed(url: str) -> DatabaseError:
    """Return the error of a call on a closed database."""
    return DatabaseError(f"database '{url}' is closed; open it again with open_database")


def unknown_job(job_id: str) -> DatabaseError:
    """Return the error of a job id that is not on record."""
    return DatabaseError(f"unknown job '{job_id}'; start it first with start_job")
