"""What primitives accept, read off their functions, so that foreign traces are checked before use.

A primitive's positional parameters are an instruction's inputs, in order, and its keyword-only
ones are the instruction's attributes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, cast

from metasched.errors import TraceError, suggest
from metasched.ir.expr import Const, Expr
from metasched.schedule.primitives import PRIMITIVES
from metasched.schedule.samplers import SAMPLERS
from metasched.trace.instruction import Instruction

_INTERNAL: Final = {"state", "decision", "symbol"}
_NAMED: Final[dict[str, tuple[type, ...]]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "Expr": (Expr,),
    "None": (type(None),),
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """The values that a parameter takes.

    Attributes:
        classes: what a value may be.
        items: where a value may be a tuple, what its items may be.
    """

    classes: tuple[type, ...]
    items: tuple[type, ...] = ()

    @staticmethod
    def of(annotation: str) -> Accepted:
        """Read a parameter's annotation: a union of plain classes, a tuple of such, or both."""
        if "AnnotationValue" in annotation:
            return Accepted((str, int, float, tuple, Expr), (str, int, float, tuple, Expr))
        found = re.fullmatch(r"(?:(.*) \| )?tuple\[(.*), \.\.\.\]", annotation)
        if found is None:
            return Accepted(_classes(annotation))
        return Accepted((*(_classes(found[1]) if found[1] else ()), tuple), _classes(found[2]))

    def fits(self, value: object) -> bool:
        """Whether a value is one of them."""
        if isinstance(value, tuple):
            items = cast(tuple[object, ...], value)
            inner = self if tuple in self.items else Accepted(self.items)
            return tuple in self.classes and all(inner.fits(item) for item in items)
        return _is_a(value, self.classes)


def _classes(annotation: str) -> tuple[type, ...]:
    return tuple(c for part in annotation.split("|") for c in _NAMED[part.strip()])


def _is_a(value: object, classes: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in classes
    return isinstance(value, classes) or (isinstance(value, Const) and int in classes)


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a primitive takes after its state.

    Attributes:
        inputs: name and values of each input, in order.
        optional: how many inputs at the end may be left out.
        rest: values of any further inputs; None when there are none.
        options: name and values of each option.
    """

    inputs: tuple[tuple[str, Accepted], ...]
    optional: int
    rest: Accepted | None
    options: dict[str, Accepted]


def known_kind(kind: str) -> bool:
    """Whether there is a primitive of that name."""
    return kind in SAMPLERS or kind in PRIMITIVES


@cache
def parameters(kind: str) -> Parameters:
    """The parameters of a primitive or sampling primitive."""
    function = SAMPLERS[kind].site if kind in SAMPLERS else PRIMITIVES[kind].apply
    return _read(function)


def _read(function: Callable[..., Any]) -> Parameters:
    inputs: list[tuple[str, Accepted]] = []
    optional = 0
    rest: Accepted | None = None
    options: dict[str, Accepted] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name in _INTERNAL:
            continue
        accepted = Accepted.of(str(parameter.annotation))
        if parameter.kind is parameter.VAR_POSITIONAL:
            rest = accepted
        elif parameter.kind is parameter.KEYWORD_ONLY:
            options[name] = accepted
        else:
            inputs.append((name, accepted))
            optional += parameter.default is not parameter.empty
    return Parameters(tuple(inputs), optional, rest, options)


def check_arguments(step: Instruction, inputs: list[Any]) -> None:
    """Check the number, names and classes of an instruction's resolved arguments.

    Raises:
        TraceError: they do not fit the primitive.
    """
    wanted = parameters(step.kind)
    names = [name for name, _ in wanted.inputs]
    least = len(names) - wanted.optional
    if len(inputs) < least or (len(inputs) > len(names) and wanted.rest is None):
        raise TraceError(f"{step.kind} takes {_listed(names[:least])}, got {len(inputs)} inputs")
    values = [accepted for _, accepted in wanted.inputs[: len(inputs)]]
    values.extend(wanted.rest or Accepted(()) for _ in inputs[len(names) :])
    for position, (value, accepted) in enumerate(zip(inputs, values, strict=True)):
        if not accepted.fits(value):
            label = names[position] if position < len(names) else "a loop or block"
            raise TraceError(f"{step.kind} takes {label} as input {position}, got {value!r}")
    for name, value in step.attrs:
        if name not in wanted.options:
            hint = suggest(name, wanted.options)
            raise TraceError(f"{step.kind} has no option '{name}'{hint}")
        if not wanted.options[name].fits(value):
            raise TraceError(f"{step.kind}: option '{name}' cannot be {value!r}")


def _listed(names: list[str]) -> str:
    return f"{len(names)} input{'' if len(names) == 1 else 's'} ({', '.join(names)})"
