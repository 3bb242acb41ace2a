"""What an import read, kept and lost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from metasched.database.records import TuningRecord
from metasched.errors import DatabaseError

MAX_BYTES: Final = 256 * 2**20
"""A larger document is refused, since it is parsed as a whole."""

MAX_RECORDS: Final = 2_000_000


@dataclass(slots=True)
class ImportReport:
    """What an import came to.

    Attributes:
        format: of the file.
        records: what it gave, in the order of the file.
        skipped: entries that gave no record, counted by reason.
        lost: what of the entries that did has no place here, counted by what it is.
    """

    format: str
    records: list[TuningRecord] = field(default_factory=list[TuningRecord])
    skipped: Counter[str] = field(default_factory=Counter[str])
    lost: Counter[str] = field(default_factory=Counter[str])

    def to_dict(self) -> dict[str, Any]:
        """The counts as JSON values."""
        return {
            "format": self.format,
            "records": len(self.records),
            "skipped": dict(self.skipped),
            "lost": dict(self.lost),
        }

    def add(self, record: TuningRecord, where: str) -> None:
        """Keep a record.

        Raises:
            DatabaseError: There are too many.
        """
        if len(self.records) >= MAX_RECORDS:
            raise DatabaseError(f"'{where}' holds more than {MAX_RECORDS} records; split it")
        self.records.append(record)


class Malformed(Exception):
    """An entry does not hold what it should; the text says what."""


def read_document(path: Path) -> str:
    """Return the text of a file that is parsed as a whole.

    Raises:
        DatabaseError: It cannot be read, is too large or is no text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DatabaseError(f"cannot read '{path}': {error.strerror}; check the path") from error
    if len(data) > MAX_BYTES:
        raise DatabaseError(f"'{path}' has more than {MAX_BYTES} bytes; split it")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise DatabaseError(f"'{path}' is no text: {error.reason}") from error


def parse_json(text: str | bytes, what: str) -> Any:
    """Return the value of JSON text.

    Raises:
        Malformed: It is none, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise Malformed(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise Malformed(f"{what} is no JSON ({error!s:.80})") from error


def get_list(value: Any, what: str) -> list[Any]:
    """Return a value that must be a list."""
    if not isinstance(value, list):
        raise Malformed(f"{what}: expected a list, got {type(value).__name__}")
    return cast("list[Any]", value)


def get_dict(value: Any, what: str) -> Mapping[str, Any]:
    """Return a value that must be an object."""
    if not isinstance(value, dict):
        raise Malformed(f"{what}: expected an object, got {type(value).__name__}")
    return cast("Mapping[str, Any]", value)


def get_text(value: Any, what: str) -> str:
    """Return a value that must be text that every database can store."""
    if not isinstance(value, str) or "\0" in value or len(value) > 10_000:
        raise Malformed(f"{what}: expected short text, got {type(value).__name__}")
    if value.encode(errors="replace").decode() != value:
        raise Malformed(f"{what}: expected text, got a lone surrogate")
    return value


def get_seconds(value: Any, what: str, unit_s: float = 1.0) -> float:
    """Return a value that must be a time, in seconds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Malformed(f"{what}: expected a number, got {type(value).__name__}")
    try:
        seconds = float(value) * unit_s
    except OverflowError:
        raise Malformed(f"{what}: {str(value)[:20]} is too large") from None
    if not 0 <= seconds < 1e9:
        raise Malformed(f"{what}: {seconds} is no running time")
    return seconds
