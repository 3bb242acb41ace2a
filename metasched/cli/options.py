"""Options that several commands share, declared once so that they read alike."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from metasched.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_DATABASE: Final = "sqlite:///metasched.db"
"""A file in the current directory."""


def program(function: F) -> F:
    """Add the arguments ``OP KEY=VALUE ...`` as ``op`` and ``pairs``."""
    function = click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")(function)
    return click.argument("op", metavar="OP")(function)


def target(function: F) -> F:
    """Add ``--target``."""
    text = "What to compile for; 'cpu' is this machine."
    return click.option("--target", default="cpu", show_default=True, help=text)(function)


def database(function: F) -> F:
    """Add ``--db`` as ``url``."""
    text = "URL of the tuning database."
    option = click.option(
        "--db", "url", default=DEFAULT_DATABASE, show_default=True, metavar="URL", help=text
    )
    return option(function)


def as_json(function: F) -> F:
    """Add ``--json`` as ``as_json``."""
    text = "Print JSON on standard output and nothing else there."
    return click.option("--json", "as_json", is_flag=True, help=text)(function)


def print_json(value: object) -> None:
    """Print one JSON object on a line of standard output."""
    click.echo(json.dumps(value, allow_nan=False))


def require_file(url: str) -> None:
    """Refuse a file database that is not there, since opening it would create it.

    Raises:
        UsageError: the URL names a file that does not exist.
    """
    scheme, _, rest = url.partition(":///")
    path = rest.partition("?")[0]
    if scheme.partition("+")[0] == "sqlite" and path and not os.path.exists(path):
        raise UsageError(f"no database '{path}'; tune first, or name another with --db URL")


def write_text(path: str, text: str) -> None:
    """Write a file that a user named.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"cannot write '{path}': {error.strerror}; choose another") from error
