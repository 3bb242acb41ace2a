"""From ``OP m=1..512 n=768`` to a family of programs, and how a set of schedules for it is shown.

Read `metasched.shapes` for what such a set is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from metasched import figures
from metasched.cli.program import build_program, find_function, parse_pairs
from metasched.errors import UsageError
from metasched.ir.stmt import Program

if TYPE_CHECKING:
    from metasched.shapes import Dispatch, Family

_PART: Final = re.compile(r"(\d+)(?:\.\.(\d+)(?::(\d+))?)?")
_MOST: Final = 1_000_000
"""Sizes of a distribution; more would be a slip of the pen."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Programs that differ in one size, and the sizes that are asked for.

    Attributes:
        key: the argument that is left open.
        text: the sizes as they were given.
        sizes: the distribution: each size as often as it was named.
        make: from a size to its program.
    """

    key: str
    text: str
    sizes: tuple[int, ...]
    make: Family


def load_family(op: str, pairs: Sequence[str]) -> Sizes | None:
    """Read a command line that has a range, such as ``m=1..512``; None where it has none.

    A range is ``FIRST..LAST`` or ``FIRST..LAST:STEP``; ranges and sizes may follow each other with
    commas, as in ``m=1..64,64,128``.

    Raises:
        UsageError: there are several ranges, one is malformed, or see
            `metasched.cli.program.load_program`.
    """
    arguments = parse_pairs(pairs)
    ranged = {k: v for k, v in arguments.items() if isinstance(v, str) and _is_range(v)}
    if not ranged:
        return None
    if len(ranged) > 1:
        given = " and ".join(ranged)
        raise UsageError(f"{op} has ranges for {given}; one size at most may be left open")
    ((key, text),) = ranged.items()
    sizes = parse_sizes(key, text)
    function = find_function(op)

    def make(size: int) -> Program:
        return build_program(op, function, {**arguments, key: size})

    make(sizes[0])
    return Sizes(key, text, sizes, make)


def _is_range(text: str) -> bool:
    return ".." in text and text.split("..")[0].split(",")[0].isdigit()


def parse_sizes(key: str, text: str) -> tuple[int, ...]:
    """Return the sizes that a text such as ``1..8:2,64`` names.

    Raises:
        UsageError: it names none.

    >>> parse_sizes("m", "1..8:3,64")
    (1, 4, 7, 64)
    """
    found: list[int] = []
    for part in text.split(","):
        match = _PART.fullmatch(part)
        first, last, step = (int(n) if n else None for n in match.groups()) if match else (0, 0, 0)
        stop, stride = (first if last is None else last), (1 if step is None else step)
        if not first or not stop or not stride or stop < first or stop > _MOST:
            raise UsageError(
                f"{key}={text}: '{part}' is no range; expected FIRST..LAST or FIRST..LAST:STEP with"
                f" numbers from 1 to {_MOST}"
            )
        found += range(first, stop + 1, stride)
    return tuple(found)


def dispatch_json(dispatch: Dispatch) -> dict[str, Any]:
    """A set of schedules as JSON values; times in seconds."""
    return {
        "loss": dispatch.loss,
        "schedules": [
            {"size": c.size, "fit": str(c.fit), "trace": c.trace} for c in dispatch.choices
        ],
        "guards": [{"up_to": bound, "schedule": index} for bound, index in dispatch.guards],
        "sample": [
            {"size": one.size, "time_s": one.chosen_s, "best_s": one.best_s}
            for one in dispatch.losses
        ],
    }


def dispatch_text(family: Sizes, dispatch: Dispatch) -> str:
    """A set of schedules: its guards, and what it loses on each size of the sample."""
    rows = [
        (
            str(one.size),
            figures.microseconds(one.chosen_s),
            figures.microseconds(one.best_s),
            figures.ratio(one.chosen_s / one.best_s),
        )
        for one in dispatch.losses
    ]
    header = (family.key, "us", "best known", "ratio")
    return f"{dispatch}\n{figures.table(header, rows)}"
