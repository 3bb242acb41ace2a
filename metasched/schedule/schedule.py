"""`Schedule`: the one mutable object; it resolves handles, applies primitives and records a trace.

Methods are thin typed forwarders (jump to definition works), one file per family in
`schedule/methods/`; what a primitive does and requires is in `schedule/primitives/`. Copying a
schedule is cheap, since states and instructions are shared.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from metasched.errors import UsageError, suggest
from metasched.ir.expr import Expr, const, int_value
from metasched.ir.stmt import Block, For, Program
from metasched.schedule.methods import (
    Intrinsics,
    Layout,
    Lookup,
    Loops,
    Memory,
    Movement,
    Notes,
    Placement,
    Reduction,
    Sampling,
)
from metasched.schedule.primitives import PRIMITIVES
from metasched.schedule.samplers.site import Draw
from metasched.schedule.show import show
from metasched.trace.instruction import Ref


class Schedule(
    Sampling, Lookup, Loops, Movement, Placement, Reduction, Memory, Layout, Intrinsics, Notes
):
    """A program under transformation, with the trace that leads to it.

    Args:
        program: the program to schedule; it is not changed.
        seed: seed of the generator behind the sampling primitives.
        choices: where decisions come from instead; see `metasched.schedule.samplers.site`.

    Attributes:
        original: the program as it was given.
        state: the program as it stands, with what primitives know about it.
        choices: where decisions come from.
        sites: the distribution at each sampling instruction so far, by index.
        previous: the program before the last step that changed it.
    """

    def copy(self) -> Schedule:
        """An independent schedule at the same point (not traced), with random draws of its own."""
        other = Schedule.__new__(Schedule)
        other.original, other.state = self.original, self.state
        other.choices = self.choices.fork() if isinstance(self.choices, Draw) else self.choices
        other._instructions = self._instructions
        other._decisions, other.sites = dict(self._decisions), dict(self.sites)
        other._values, other.previous = dict(self._values), self.previous
        return other

    def seed(self, seed: int) -> None:
        """Draw further decisions from a new generator with this seed (not traced)."""
        self.choices = Draw(np.random.default_rng(seed))

    def fork_seed(self) -> int:
        """A seed for another generator, drawn apart from the schedule's own (not traced).

        Raises:
            UsageError: the schedule takes its choices from elsewhere, so it has no generator.
        """
        if not isinstance(self.choices, Draw):
            raise UsageError(
                "fork_seed: expected a schedule that draws its choices, got one that takes them "
                f"from {type(self.choices).__name__}; call seed() first"
            )
        return int(self.choices.fork().rng.integers(2**63))

    def work_on(self, func_name: str) -> None:
        """Name the program that further steps are about (not traced).

        A schedule holds one program, so this only checks the name.

        Raises:
            UsageError: the program has another name.
        """
        if func_name != self.program.name:
            raise UsageError(
                f"work_on: expected the program '{self.program.name}', got '{func_name}'; make a "
                "Schedule for each program"
            )

    def apply(self, kind: str, *inputs: Any, **attrs: Any) -> Ref | tuple[Ref, ...] | None:
        """Apply a primitive by name, for those that are registered elsewhere and have no method.

        Args:
            kind: its registered name; ``schedule.<kind>(...)`` is the same.
            inputs: handles and plain values.
            attrs: its options.

        Returns:
            the handle that it gives, a tuple of several, or None.

        Raises:
            UsageError: there is no primitive of that name.
            ScheduleError: a precondition does not hold; the schedule is as it was.
        """
        _ = PRIMITIVES[kind]
        outputs = self._do(kind, *inputs, **attrs)
        return outputs if len(outputs) > 1 else next(iter(outputs), None)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            # Hidden from type checkers, which would no longer see a misspelt method.
            if name in PRIMITIVES:
                return partial(self.apply, name)
            raise AttributeError(f"'Schedule' has no method '{name}'{suggest(name, PRIMITIVES)}")

    def get(self, ref: Ref) -> Block | For | Expr:
        """The block, loop or integer a handle stands for (not traced)."""
        value = self.value(ref)
        if ref.kind == "block":
            return self.state.block(str(value), "get")
        return self.state.loop(str(value), "get") if ref.kind == "loop" else _expr(value)

    def int_of(self, ref: Ref) -> int | None:
        """The integer of an expression handle; None while it is symbolic."""
        return int_value(_expr(self.value(ref)))

    def show(self, diff: bool | Program = False) -> None:
        """Print the program, in colours on a terminal (not traced).

        Args:
            diff: mark what the last step that changed the program did, or what differs from the
                program given.
        """
        show(self.program, self.previous if diff is True else diff or None)


def _expr(value: Expr | str) -> Expr:
    return value if isinstance(value, Expr) else const(int(value))
