"""`Schedule`: the one mutable object; it resolves handles, applies primitives and records a trace.

Methods are thin typed forwarders (jump to definition works), one file per family in
`schedule/methods/`; what a primitive does and requires is in `schedule/primitives/`. Copying a
schedule is cheap, since states and instructions are shared.
"""

from __future__ import annotations

import sys

import numpy as np

from metasched.ir.expr import Expr, const, int_value
from metasched.ir.stmt import Block, For
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
from metasched.schedule.samplers.site import Draw
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
    """

    def copy(self) -> Schedule:
        """An independent schedule at the same point (not traced), with random draws of its own."""
        other = Schedule.__new__(Schedule)
        other.original, other.state = self.original, self.state
        other.choices = self.choices.fork() if isinstance(self.choices, Draw) else self.choices
        other._instructions = self._instructions
        other._decisions, other.sites = dict(self._decisions), dict(self.sites)
        other._values = dict(self._values)
        return other

    def seed(self, seed: int) -> None:
        """Draw further decisions from a new generator with this seed (not traced)."""
        self.choices = Draw(np.random.default_rng(seed))

    def get(self, ref: Ref) -> Block | For | Expr:
        """The block, loop or integer a handle stands for (not traced)."""
        value = self.value(ref)
        if ref.kind == "block":
            return self.state.block(str(value), "get")
        return self.state.loop(str(value), "get") if ref.kind == "loop" else _expr(value)

    def int_of(self, ref: Ref) -> int | None:
        """The integer of an expression handle; None while it is symbolic."""
        return int_value(_expr(self.value(ref)))

    def show(self) -> None:
        """Print the program, in colours on a terminal (not traced)."""
        if not sys.stdout.isatty():
            print(self.program)
            return
        from rich.console import Console
        from rich.syntax import Syntax

        Console().print(Syntax(str(self.program), "python", background_color="default"))


def _expr(value: Expr | str) -> Expr:
    return value if isinstance(value, Expr) else const(int(value))
