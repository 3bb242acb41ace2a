"""`Schedule`: the one mutable object; it resolves handles, applies primitives and records a trace.

Methods are thin typed forwarders (jump to definition works); what a primitive does and requires is
in `schedule/primitives/`. Copying a schedule is cheap, since states and instructions are shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from metasched.errors import ScheduleError, UsageError
from metasched.ir.expr import Expr, Var, const, int_value
from metasched.ir.stmt import AnnotationValue, Block, For, Program
from metasched.schedule.primitives import PRIMITIVES
from metasched.schedule.samplers import SAMPLERS
from metasched.schedule.samplers.site import AbstractChoices, AbstractSite, Draw
from metasched.schedule.state import State
from metasched.trace.instruction import Decision, Input, Instruction, Ref, map_refs
from metasched.trace.trace import Trace

_PREFIX = {"block": "b", "loop": "l", "expr": "v"}


class Schedule:
    """A program under transformation, with the trace that leads to it.

    Args:
        program: the program to schedule; it is not changed.
        seed: seed of the generator behind the sampling primitives.
        choices: where decisions come from instead; see `metasched.schedule.samplers.site`.
    """

    def __init__(
        self, program: Program, *, seed: int = 0, choices: AbstractChoices | None = None
    ) -> None:
        self.state = State(program)
        self.choices = choices or Draw(np.random.default_rng(seed))
        self._instructions: tuple[Instruction, ...] = ()
        self._decisions: dict[int, Decision] = {}
        self.sites: dict[int, AbstractSite] = {}
        self._values: dict[Ref, Expr | str] = {}

    @property
    def program(self) -> Program:
        """The program as it stands."""
        return self.state.program

    @property
    def trace(self) -> Trace:
        """The steps so far and the decisions taken."""
        return Trace(self._instructions, dict(self._decisions))

    def copy(self) -> Schedule:
        """An independent schedule at the same point (not traced)."""
        other = Schedule.__new__(Schedule)
        other.state, other.choices = self.state, self.choices
        other._instructions = self._instructions
        other._decisions, other.sites = dict(self._decisions), dict(self.sites)
        other._values = dict(self._values)
        return other

    # -- machinery -----------------------------------------------------------------------------

    def run(self, instruction: Instruction, decision: Decision | None = None) -> tuple[Ref, ...]:
        """Apply one instruction (of a trace, or made by a method) and record it.

        Args:
            instruction: its outputs name the new handles; when empty they are named here.
            decision: for a sampling instruction, the decision to take instead of asking `choices`.

        Raises:
            ScheduleError: a precondition does not hold; the schedule is as it was.
        """
        kind = instruction.kind
        inputs = [map_refs(i, self.value) for i in instruction.inputs]
        attrs = dict(instruction.attrs)
        if kind in SAMPLERS:
            sampler = SAMPLERS[kind]
            index = len(self._instructions)
            site = sampler.site(self.state, *inputs, **attrs)
            if decision is None:
                decision = self.choices.choose(index, site)
            elif not site.contains(decision):
                raise ScheduleError(f"{kind}: expected a decision of {site}, got {decision}")
            symbol = lambda k: Var(f"t{index}_{k}")  # noqa: E731
            state, values = sampler.outputs(self.state, decision, symbol, *inputs, **attrs)
            self.sites[index] = site
            if decision is not None:
                self._decisions[index] = decision
            output = sampler.output
        else:
            primitive = PRIMITIVES[kind]
            state, values = primitive.apply(self.state, *inputs, **attrs)
            output = primitive.output
        outputs = instruction.outputs
        if not outputs and output is not None:
            first = len(self._values)
            outputs = tuple(Ref(output, f"{_PREFIX[output]}{first + k}") for k in range(len(values)))
        self.state = state
        self._values.update(zip(outputs, values, strict=True))
        recorded = Instruction(kind, instruction.inputs, instruction.attrs, outputs)
        self._instructions = (*self._instructions, recorded)
        return outputs

    def value(self, ref: Ref) -> Expr | str:
        """What a handle stands for: the name of a loop or block, or an integer expression."""
        try:
            return self._values[ref]
        except KeyError:
            raise ScheduleError(
                f"handle {ref} does not belong to this schedule; get it from this schedule's methods"
            ) from None

    def _one(self, kind: str, *inputs: Any, **attrs: AnnotationValue | None) -> Ref:
        return self._many(kind, *inputs, **attrs)[0]

    def _many(self, kind: str, *inputs: Any, **attrs: AnnotationValue | None) -> tuple[Ref, ...]:
        decision = attrs.pop("decision", None)
        step = Instruction(kind, tuple(_input(i) for i in inputs), tuple(sorted(attrs.items())), ())
        return self.run(step, decision)  # type: ignore[arg-type]

    # -- looking at the program (not traced) ---------------------------------------------------

    def get(self, ref: Ref) -> Block | For | Expr:
        """The block, loop or integer a handle stands for (not traced)."""
        value = self.value(ref)
        if ref.kind == "block":
            return self.state.block(str(value), "get")
        return self.state.loop(str(value), "get") if ref.kind == "loop" else _expr(value)

    def int_of(self, ref: Ref) -> int | None:
        """The integer of an expression handle; None while it is symbolic."""
        return int_value(_expr(self.value(ref)))

    # -- sampling ------------------------------------------------------------------------------

    def sample_perfect_tile(
        self, loop: Ref, n: int, max_innermost_factor: int = 16, decision: Sequence[int] | None = None
    ) -> tuple[Ref, ...]:
        """Factors of a loop's extent."""
        return self._many(
            "sample_perfect_tile", loop, n=n, max_innermost_factor=max_innermost_factor,
            decision=None if decision is None else tuple(decision),
        )  # fmt: skip

    # -- loops ---------------------------------------------------------------------------------

    def split(
        self,
        loop: Ref,
        factors: Sequence[Ref | int | None],
        preserve_unit_iters: bool = True,
        disable_predication: bool = False,
    ) -> tuple[Ref, ...]:
        """Split a loop into nested loops with the given extents, outermost first."""
        return self._many(
            "split", loop, tuple(factors), preserve_unit_iters=preserve_unit_iters,
            disable_predication=disable_predication,
        )  # fmt: skip


def _input(value: Any) -> Input:
    if value is None or isinstance(value, Ref | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return tuple(_input(v) for v in value)
    raise UsageError(f"expected a handle, a number or a text, got {value!r}")


def _expr(value: Expr | str) -> Expr:
    return value if isinstance(value, Expr) else const(int(value))
