"""Functions that a program calls by name and that the target's language defines.

An extern function is pure: it maps vectors to a vector and touches no memory, so lowering treats
its calls like any other expression and keeps their operands in registers. The reference
interpreter knows it by `ExternFunction.lane`. Intrinsics for tensorize are built from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from metasched.errors import UsageError
from metasched.ir.dtype import DType
from metasched.ir.expr import Expr, Extern
from metasched.registry import Registry

Argument: TypeAlias = Callable[[int], Expr]
"""A vector argument as a function from the lane to a scalar."""


@dataclass(frozen=True, slots=True)
class ExternFunction:
    """A pure function on vectors.

    Args:
        name: an identifier.
        args: type of each argument.
        result: type of the result.
        lane: one lane of the result as a scalar expression, given the lane and the arguments.
        c: the body of the C function; arguments are ``x0``, ``x1``, ... of GNU vector types.
        includes: the C headers it needs.
        features: what the target must offer, by its Linux name such as ``avx512_vnni``.
    """

    name: str
    args: tuple[DType, ...]
    result: DType
    lane: Callable[[int, Sequence[Argument]], Expr]
    c: str
    includes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()

    def __call__(self, *args: Expr) -> Extern:
        """A call as an expression.

        Raises:
            UsageError: the arguments have other types.
        """
        found = Extern(self.name, args, self.result)
        if wrong := why_not_callable(found):
            raise UsageError(wrong)
        return found

    def missing(self, features: Iterable[str]) -> tuple[str, ...]:
        """What a target with some features lacks."""
        offered = frozenset(features)
        return tuple(name for name in self.features if name not in offered)


EXTERNS: Final = Registry[ExternFunction]("extern function")


def why_not_callable(call: Extern) -> str | None:
    """What is wrong with a call, or None."""
    if call.fn not in EXTERNS:
        return f"extern function '{call.fn}' is not registered in this process"
    known = EXTERNS[call.fn]
    wanted = f"{known.result} of ({', '.join(map(str, known.args))})"
    given = f"{call.dtype} of ({', '.join(str(a.dtype) for a in call.args)})"
    return None if wanted == given else f"extern '{call.fn}' is {wanted}, got {given}"


def lane_of(call: Extern, lane: int, args: Sequence[Argument]) -> Expr:
    """One lane of a call's result, by the meaning of the function."""
    return EXTERNS[call.fn].lane(lane, args)
