"""When two programs count as one: exactly, up to constants or sizes, or by their main block.

A record of a program that is equal in a looser sense gives a schedule to start from. Its evidence
and its time are those of the other program.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from metasched.database.spelling import parsed

if TYPE_CHECKING:
    from metasched.ir.stmt import Program


class Equality(StrEnum):
    """How much of two programs has to agree."""

    STRUCTURAL = "structural"
    """All but names, the order of inputs and trivial rewrites."""

    IGNORE_CONSTANTS = "ignore-constants"
    """The numbers that values are computed with do not count either; extents and indices do."""

    ANCHOR_BLOCK = "anchor-block"
    """The loop nest of the reduction that does most of the work; what surrounds it is free."""

    ANY_SHAPE = "any-shape"
    """The same computation on arrays of other sizes."""


def key_of(program: Program, equality: Equality) -> str | None:
    """Return the key of a program under an equality, ``None`` where it has none."""
    from metasched.ir.canonical import canonical_hash
    from metasched.ir.loose import anchor_program, without_constants, without_sizes

    match equality:
        case Equality.STRUCTURAL:
            return canonical_hash(program)
        case Equality.IGNORE_CONSTANTS:
            return f"constants:{canonical_hash(without_constants(program))}"
        case Equality.ANCHOR_BLOCK:
            main = anchor_program(program)
            return None if main is None else f"anchor:{canonical_hash(main)}"
        case Equality.ANY_SHAPE:
            return f"shape:{canonical_hash(without_sizes(program))}"


@lru_cache(maxsize=1024)
def loose_keys(text: str) -> dict[Equality, str]:
    """Return the keys of a printed program under the looser equalities that it has one for."""
    program = parsed(text)
    if program is None:
        return {}
    found = {equality: key_of(program, equality) for equality in list(Equality)[1:]}
    return {equality: key for equality, key in found.items() if key is not None}
