"""`Space`: how programs may be scheduled, as one value that can be inspected without measuring.

A space is a list of rules, or schedule functions of the user, or both; with the postprocessors
that finish candidates and the mutators that vary them. Read `generate` and `rules/` next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np

from metasched.errors import UsageError
from metasched.ir.stmt import Program
from metasched.registry import Registry
from metasched.schedule.samplers.site import Draw
from metasched.schedule.schedule import Schedule
from metasched.space.generate import drafts
from metasched.space.postprocs import (
    AbstractPostproc,
    DisallowDynamicLoop,
    Rejected,
    RewriteParallelVectorizeUnroll,
    RewriteReductionBlock,
    postprocess,
)
from metasched.space.rules import (
    AbstractRule,
    AddRFactor,
    AutoInline,
    InlineConstantScalars,
    MultiLevelTiling,
    ParallelizeVectorizeUnroll,
    RandomComputeLocation,
)
from metasched.target import Target
from metasched.trace.trace import Trace

ScheduleFunction = Callable[[Schedule], object]
Rules = tuple[AbstractRule, ...]

CPU_RULES: Final[Rules] = (
    InlineConstantScalars(),
    AutoInline(),
    AddRFactor(),
    MultiLevelTiling(),
    ParallelizeVectorizeUnroll(),
    RandomComputeLocation(),
)
CPU_POSTPROCS: Final[tuple[AbstractPostproc, ...]] = (
    DisallowDynamicLoop(),
    RewriteReductionBlock(),
    RewriteParallelVectorizeUnroll(),
)
CPU_MUTATORS: Final[tuple[tuple[str, float], ...]] = (
    ("tile_size", 0.9),
    ("compute_location", 0.05),
    ("unroll", 0.03),
    ("parallel", 0.02),
)

_DRAWS = 16
"""How often a schedule function is run to find the structures that it can take."""


@dataclass(frozen=True, slots=True)
class Space:
    """A search space.

    Attributes:
        rules: transformation rules, applied in order.
        postprocs: what finishes or rejects a candidate.
        mutators: names of mutators with their weights.
        functions: schedule functions; each draws its choices from the schedule that it is given.
        others: the rule lists of further spaces, joined by ``|``.
    """

    rules: Rules = ()
    postprocs: tuple[AbstractPostproc, ...] = CPU_POSTPROCS
    mutators: tuple[tuple[str, float], ...] = CPU_MUTATORS
    functions: tuple[ScheduleFunction, ...] = ()
    others: tuple[Rules, ...] = ()

    @staticmethod
    def default(kind: str = "cpu") -> Space:
        """The space for a kind of target, as `SPACES` has it.

        Raises:
            UsageError: there is no default space for the kind.
        """
        return SPACES[kind]()

    @staticmethod
    def from_function(function: ScheduleFunction) -> Space:
        """The space of what one function does to a schedule, with the CPU's postprocessors.

        Args:
            function: transforms the schedule that it is given in place; its sampling primitives
                are the sites of the space.
        """
        return Space(functions=(function,))

    def __or__(self, other: Space) -> Space:
        """The union of two spaces.

        Raises:
            UsageError: they finish candidates in different ways.
        """
        if self.postprocs != other.postprocs:
            raise UsageError(
                "two spaces with different postprocessors cannot be joined; give both the same"
            )
        weights = dict(other.mutators) | dict(self.mutators)
        lists = dict.fromkeys((*self.others, other.rules, *other.others))
        return replace(
            self,
            rules=self.rules or other.rules,
            mutators=tuple(weights.items()),
            functions=tuple(dict.fromkeys((*self.functions, *other.functions))),
            others=tuple(r for r in lists if r and r != (self.rules or other.rules)),
        )

    def sketches(
        self,
        program: Program,
        target: Target,
        refusals: Counter[tuple[str, str, str]] | None = None,
    ) -> tuple[Trace, ...]:
        """The structures that the space offers for a program, with placeholder decisions.

        Args:
            program: the program.
            target: the machine.
            refusals: counts (rule, block, reason) where a rule left a block alone.
        """
        schedules = [
            draft
            for rules in (self.rules, *self.others)
            if rules
            for draft in drafts(program, rules, target, refusals)
        ]
        for function in self.functions:
            schedules.extend(_runs(function, program))
        distinct = {schedule.trace.instructions: schedule.trace for schedule in schedules}
        return tuple(distinct.values())

    def finish(self, schedule: Schedule, target: Target) -> Schedule | Rejected:
        """Run the postprocessors on a copy of a schedule."""
        return postprocess(schedule, self.postprocs, target)


def _runs(function: ScheduleFunction, program: Program) -> list[Schedule]:
    """Schedules of several draws, since what a function does may depend on what it drew."""
    found: list[Schedule] = []
    for seed in range(_DRAWS):
        schedule = Schedule(program, choices=Draw(np.random.default_rng(seed)))
        function(schedule)
        found.append(schedule)
        if not schedule.sites:
            break
    return found


SpaceFactory: TypeAlias = Callable[[], Space]
SPACES = Registry[SpaceFactory]("default space of target kind")


def _cpu() -> Space:
    return Space(CPU_RULES)


SPACES.register("cpu", _cpu)
