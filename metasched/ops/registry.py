"""The registry of operators and the checks that their arguments share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, ParamSpec

from metasched.errors import UsageError
from metasched.ir.stmt import Program
from metasched.registry import Registry

P = ParamSpec("P")

OPERATORS: Final = Registry[Callable[..., Program]]("operator")
"""Operators by name: functions from keyword arguments to a program."""


def operator(function: Callable[P, Program]) -> Callable[P, Program]:
    """Register a function as the operator of its name."""
    OPERATORS.register(function.__name__, function)
    return function


def get(name: str) -> Callable[..., Program]:
    """The operator of a name.

    Raises:
        UsageError: there is none; the message names the closest.
    """
    return OPERATORS[name]


def names() -> tuple[str, ...]:
    """The names of all operators, sorted."""
    return tuple(OPERATORS)


def positive(**sizes: int) -> None:
    """Check that arguments are integers of at least 1.

    Raises:
        UsageError: one is not; the message names it.
    """
    for name, size in sizes.items():
        at_least(1, **{name: size})


def at_least(least: int, **sizes: int) -> None:
    """Check that arguments are integers of at least ``least``.

    Raises:
        UsageError: one is not; the message names it.
    """
    for name, size in sizes.items():
        whole = hasattr(size, "__index__") and not isinstance(size, bool)
        if not whole or size < least:
            raise UsageError(f"{name}={size!r} is given, an integer of at least {least} is needed")
