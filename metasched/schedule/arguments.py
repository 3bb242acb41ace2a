"""What primitives accept, read off their functions, so that foreign traces are checked before use.

A primitive's required parameters are an instruction's inputs, in order; its options with defaults
are the instruction's attributes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from metasched.errors import TraceError, suggest
from metasched.ir.expr import Const, Expr
from metasched.schedule.primitives import PRIMITIVES
from metasched.schedule.samplers import SAMPLERS
from metasched.trace.instruction import Instruction

_INTERNAL: Final = {"state", "decision", "symbol"}
_ANY: Final = (str, int, float, tuple, Expr, type(None))


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a primitive takes after its state.

    Attributes:
        inputs: name and accepted classes of each required parameter.
        rest: accepted classes of any further inputs; None when there are none.
        options: name and accepted classes of each option.
    """

    inputs: tuple[tuple[str, tuple[type, ...]], ...]
    rest: tuple[type, ...] | None
    options: dict[str, tuple[type, ...]]


def known_kind(kind: str) -> bool:
    """Whether there is a primitive of that name."""
    return kind in SAMPLERS or kind in PRIMITIVES


@cache
def parameters(kind: str) -> Parameters:
    """The parameters of a primitive or sampling primitive."""
    function = SAMPLERS[kind].site if kind in SAMPLERS else PRIMITIVES[kind].apply
    return _read(function)


def _read(function: Callable[..., Any]) -> Parameters:
    inputs: list[tuple[str, tuple[type, ...]]] = []
    rest: tuple[type, ...] | None = None
    options: dict[str, tuple[type, ...]] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        accepted = _accepted(str(parameter.annotation))
        if name in _INTERNAL:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            rest = accepted
        elif parameter.default is parameter.empty:
            inputs.append((name, accepted))
        else:
            options[name] = accepted
    return Parameters(tuple(inputs), rest, options)


def _accepted(annotation: str) -> tuple[type, ...]:
    """The classes that a parameter's annotation admits; anything for those not told apart here."""
    if annotation.startswith("tuple["):
        return (tuple,)
    named: dict[str, type] = {"str": str, "bool": bool, "int": int, "float": float, "Expr": Expr}
    parts = [part.strip() for part in annotation.split("|")]
    if all(part in named or part == "None" for part in parts):
        return tuple(named.get(part, type(None)) for part in parts)
    return _ANY


def check_arguments(step: Instruction, inputs: list[Any]) -> None:
    """Check the number, names and classes of an instruction's resolved arguments.

    Raises:
        TraceError: they do not fit the primitive.
    """
    wanted = parameters(step.kind)
    names = [name for name, _ in wanted.inputs]
    if len(inputs) < len(names) or (len(inputs) > len(names) and wanted.rest is None):
        raise TraceError(f"{step.kind} takes {_listed(names)}, got {len(inputs)} inputs")
    classes = [accepted for _, accepted in wanted.inputs]
    classes.extend([wanted.rest or ()] * (len(inputs) - len(names)))
    for position, (value, accepted) in enumerate(zip(inputs, classes, strict=True)):
        if not _fits(value, accepted):
            label = names[position] if position < len(names) else "a loop or block"
            raise TraceError(f"{step.kind} takes {label} as input {position}, got {value!r}")
    for name, value in step.attrs:
        if name not in wanted.options:
            hint = suggest(name, wanted.options)
            raise TraceError(f"{step.kind} has no option '{name}'{hint}")
        if not _fits(value, wanted.options[name]):
            raise TraceError(f"{step.kind}: option '{name}' cannot be {value!r}")


def _fits(value: object, accepted: tuple[type, ...]) -> bool:
    if isinstance(value, bool) and bool not in accepted:
        return False
    return isinstance(value, accepted) or (isinstance(value, Const) and int in accepted)


def _listed(names: list[str]) -> str:
    return f"{len(names)} input{'' if len(names) == 1 else 's'} ({', '.join(names)})"
