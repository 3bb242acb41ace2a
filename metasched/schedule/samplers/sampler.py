"""What a sampling primitive is, and the registry of all of them. Read `perfect_tile.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from metasched.ir.expr import Expr
from metasched.registry import Registry
from metasched.schedule.samplers.site import AbstractSite
from metasched.schedule.state import State
from metasched.trace.instruction import Decision, RefKind


@dataclass(frozen=True, slots=True)
class Sampler:
    """A sampling primitive: a site on a state, and what a decision means there.

    Args:
        name: name in traces and of the `Schedule` method.
        site: ``(state, *inputs, **attrs) -> site``; it checks its inputs.
        outputs: ``(state, decision, names, *inputs, **attrs) -> (state, values)``; the decision is
            None where the tile stays symbolic, and ``names`` yields variables for it.
        output: what the outputs are handles to.
        many: whether the method returns a tuple of handles.
    """

    name: str
    site: Callable[..., AbstractSite]
    outputs: Callable[..., tuple[State, tuple[Expr | str, ...]]]
    output: RefKind
    many: bool = False


SAMPLERS = Registry[Sampler]("sampling primitive")


def decided(decision: Decision) -> tuple[int, ...]:
    """A decision as a tuple of ints."""
    return decision if isinstance(decision, tuple) else (decision,)
