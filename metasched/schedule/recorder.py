"""What every method of `Schedule` stands on: handles, instructions and the trace.

`run` applies one instruction to the state and records it; everything that changes a program passes
through it. The methods are in `schedule/methods/`, one file per family.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np

from metasched.errors import ScheduleError, TraceError, UsageError
from metasched.ir.expr import Expr, Var
from metasched.ir.stmt import AnnotationValue, Program
from metasched.schedule.arguments import check_arguments
from metasched.schedule.primitives import PRIMITIVES
from metasched.schedule.refusal import refused
from metasched.schedule.samplers import SAMPLERS
from metasched.schedule.samplers.site import AbstractChoices, AbstractSite, Draw
from metasched.schedule.state import State
from metasched.trace.instruction import Decision, Input, Instruction, Ref, RefKind, map_refs
from metasched.trace.trace import Trace

_PREFIX = {"block": "b", "loop": "l", "expr": "v"}


class Recorder:
    """A program under transformation and the instructions that led to it; see `Schedule`."""

    def __init__(
        self, program: Program, *, seed: int = 0, choices: AbstractChoices | None = None
    ) -> None:
        self.original = program
        self.previous = program
        self.state = State(program)
        self.choices: AbstractChoices = choices or Draw(np.random.default_rng(seed))
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

    def resolve(self, step: Instruction) -> list[Any]:
        """The inputs of an instruction with names and expressions in place of handles."""
        return [map_refs(i, self.value) for i in step.inputs]

    def offer(self, step: Instruction) -> AbstractSite:
        """What a sampling instruction would choose from at this point (not traced).

        Raises:
            ScheduleError: a precondition does not hold.
        """
        return SAMPLERS[step.kind].site(self.state, *self.resolve(step), **dict(step.attrs))

    def run(self, step: Instruction, decision: Decision | None = None) -> tuple[Ref, ...]:
        """Apply one instruction (of a trace, or made by a method) and record it.

        Args:
            step: its outputs name the new handles; when empty they are named here.
            decision: for a sampling instruction, the decision to take instead of asking `choices`.

        Raises:
            ScheduleError: a precondition does not hold; the schedule is as it was.
            TraceError: the instruction names another number of outputs than it has.
        """
        index = len(self._instructions)
        inputs, attrs = self.resolve(step), dict(step.attrs)
        sampler = SAMPLERS[step.kind] if step.kind in SAMPLERS else None
        if sampler is not None:
            site = sampler.site(self.state, *inputs, **attrs)
            decision = self._decide(step, site, decision)
            symbol = partial(_symbol, index)
            state, values = sampler.outputs(self.state, decision, symbol, *inputs, **attrs)
            output = sampler.output
        else:
            primitive = PRIMITIVES[step.kind]
            state, values = primitive.apply(self.state, *inputs, **attrs)
            output, site = primitive.output, None
        outputs = self._outputs(step, output, len(values))
        if state.program is not self.program:
            self.previous = self.program
        self.state = state
        self._values.update(zip(outputs, values, strict=True))
        self._instructions = (*self._instructions, replace(step, outputs=outputs))
        if site is not None:
            self.sites[index] = site
        if decision is not None:
            self._decisions[index] = decision
        return outputs

    def _decide(
        self, step: Instruction, site: AbstractSite, decision: Decision | None
    ) -> Decision | None:
        if decision is None:
            return self.choices.choose(len(self._instructions), site)
        if not site.contains(decision):
            raise refused(
                self.state, step.kind, "a decision that is legal here", f"{decision} for {site}",
                at=None, hint="leave the decision out to have one drawn",
            )  # fmt: skip
        return decision

    def _outputs(self, step: Instruction, kind: RefKind | None, count: int) -> tuple[Ref, ...]:
        if step.outputs:
            if len(step.outputs) != count:
                raise TraceError(
                    f"{step.kind}: expected {len(step.outputs)} outputs as in the trace, got "
                    f"{count}; the trace belongs to another program"
                )
            return step.outputs
        refs: list[Ref] = []
        number = len(self._values)
        while kind is not None and len(refs) < count:
            ref = Ref(kind, f"{_PREFIX[kind]}{number}")
            number += 1
            if ref not in self._values:
                refs.append(ref)
        return tuple(refs)

    def value(self, ref: Ref | str) -> Expr | str:
        """What a handle stands for: the name of a loop or block, or an integer expression.

        A name stands for itself.
        """
        if isinstance(ref, str):
            return ref
        try:
            return self._values[ref]
        except KeyError:
            raise ScheduleError(
                f"handle {ref} belongs to another schedule; get it from this schedule's methods"
            ) from None

    def _do(
        self,
        kind: str,
        *inputs: Any,
        decision: int | Sequence[int] | None = None,
        **attrs: AnnotationValue,
    ) -> tuple[Ref, ...]:
        step = Instruction(kind, tuple(_input(i) for i in inputs), tuple(sorted(attrs.items())), ())
        try:
            check_arguments(step, self.resolve(step))
        except TraceError as error:
            raise ScheduleError(f"{error}; see help(Schedule.{kind})") from None
        return self.run(step, _decision(kind, decision))


def _symbol(index: int, k: int) -> Var:
    """The variable of factor ``k`` of the sampling instruction ``index``."""
    return Var(f"t{index}_{k}")


def _input(value: Any) -> Input:
    if value is None or isinstance(value, Ref | int | float | str):
        return value
    if isinstance(value, Mapping):
        return _input(list(cast(Mapping[Any, Any], value).items()))
    if isinstance(value, Sequence):
        return tuple(_input(v) for v in cast(Sequence[Any], value))
    if hasattr(value, "__index__"):
        return int(value.__index__())
    raise UsageError(f"expected a handle, a number or a text, got {value!r}")


def _decision(kind: str, value: int | Sequence[int] | None) -> Decision | None:
    given = _input(value)
    items = given if isinstance(given, tuple) else (given,)
    if given is not None and not all(type(item) is int for item in items):
        raise ScheduleError(f"{kind}: expected a decision of whole numbers, got {value!r}")
    return cast("Decision | None", given)
