"""What a primitive is, and the registry of all of them.

A primitive is a pure function on a `State`: it checks its preconditions, and returns a new state
and its outputs (names of loops or blocks). `Schedule` resolves handles before the call and records
the instruction after it. Read `split.py` as the example.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from metasched.registry import Registry
from metasched.schedule.refusal import refused as refused
from metasched.schedule.state import State
from metasched.trace.instruction import RefKind


@dataclass(frozen=True, slots=True)
class Primitive:
    """A schedule primitive.

    Args:
        name: name in traces and of the `Schedule` method.
        apply: ``(state, *inputs, **attrs) -> (state, names of outputs)``; inputs are names of loops
            and blocks, or integer expressions.
        output: what the outputs are handles to; None when there are none.
        many: whether the method returns a tuple of handles (else the single handle).
    """

    name: str
    apply: Callable[..., tuple[State, tuple[Any, ...]]]
    output: RefKind | None = None
    many: bool = False


PRIMITIVES = Registry[Primitive]("primitive")
