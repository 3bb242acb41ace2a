"""Every error metasched raises, in one tree, so that callers can catch by kind.

Messages are one clear line: what was given, what is expected, the remedy. Schedule errors
append the printed program with the offending loop or block marked.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class MetaschedError(Exception):
    """Base of every error that metasched raises on purpose."""


class UsageError(MetaschedError, ValueError):
    """An argument is of the wrong kind, shape, dtype or name; nothing was done."""


class VerifyError(MetaschedError):
    """A program breaks a rule of the IR."""


class ParseError(MetaschedError):
    """A text is not a program; the message names the line."""


class ScheduleError(MetaschedError):
    """A primitive was refused; the schedule is as it was."""


class TraceError(MetaschedError):
    """A trace cannot be read or replayed."""


class CodegenError(MetaschedError):
    """A scheduled program cannot be lowered or printed for the target."""


class ToolchainError(MetaschedError):
    """A compiler is missing or refused the source."""


class DeviceError(MetaschedError):
    """A GPU, its driver or the package that reaches it is missing; the message says the remedy."""


class MeasureError(MetaschedError):
    """Measuring could not be set up (a failing candidate is a status, never this)."""


class DatabaseError(MetaschedError):
    """The tuning database cannot be opened, read or written."""


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest known name, else the list of names.

    >>> suggest("matmull", ["matmul", "dense"])
    "; did you mean 'matmul'?"
    >>> suggest("zzz", ["matmul", "dense"])
    '; known: dense, matmul'
    """
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(names)}"
