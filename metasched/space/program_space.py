"""`ProgramSpace`: what a space holds for one program on one target.

A candidate is a trace of one of the sketches with all its decisions, before postprocessing. They
can be counted, enumerated, sampled, looked up and left out, without building or measuring any.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import fsum
from typing import Final, TypeAlias, final

import numpy as np

from metasched.errors import MetaschedError, UsageError
from metasched.ir.stmt import Program
from metasched.schedule.replay import resume
from metasched.schedule.samplers.site import Draw, Replay
from metasched.schedule.schedule import Schedule
from metasched.space.counting import Count, count
from metasched.space.generate import Tally
from metasched.space.postprocs import AbstractPostproc, Rejected, postprocess
from metasched.space.sketches import Sketch, draw_function, find_sketches
from metasched.space.space import Space
from metasched.space.walking import leaves
from metasched.target import Target
from metasched.trace.instruction import Decision, Instruction
from metasched.trace.trace import Trace

Key: TypeAlias = tuple[tuple[Instruction, ...], tuple[tuple[int, Decision], ...]]
_MOST_LISTED: Final = 100_000
_DRAWS_EACH: Final = 16
"""So many draws for each sample that is asked for, since some are rejected or met again."""


@dataclass(frozen=True, slots=True)
class Membership:
    """Whether a trace is a candidate of a space.

    Attributes:
        sketch: number of its sketch; None where it is no candidate.
        reason: why it is none, else empty.
    """

    sketch: int | None
    reason: str = ""

    def __bool__(self) -> bool:
        return self.sketch is not None


@final
class ProgramSpace:
    """The candidates that a space offers for a program; made by `Space.on`.

    Args:
        space: the space.
        program: the program.
        target: the machine.
        without: keys of candidates that are left out; see `minus`.
    """

    def __init__(
        self, space: Space, program: Program, target: Target, without: frozenset[Key] = frozenset()
    ) -> None:
        self.space = space
        self.program = program
        self.target = target
        self._without = without

    @cached_property
    def tally(self) -> Tally:
        """How often rules visited blocks and why they left blocks alone."""
        return self._found[1]

    @cached_property
    def sketches(self) -> tuple[Sketch, ...]:
        """The structures, with placeholder decisions."""
        return self._found[0]

    @cached_property
    def _found(self) -> tuple[tuple[Sketch, ...], Tally]:
        tally = Tally()
        return find_sketches(self.space, self.program, self.target, tally), tally

    # -- all candidates --------------------------------------------------------------------------

    def count(self, most: int = 64) -> Count:
        """How many candidates there are, those that postprocessors would reject included.

        Args:
            most: structures of a sketch to walk through; of more, so many are probed, and the
                count is an estimate with its standard error.
        """
        parts = [count(sketch.trace, self.program, most=most) for sketch in self.sketches]
        error = fsum(part.error**2 for part in parts) ** 0.5
        return Count(fsum(part.value for part in parts) - len(self._without), error)

    def enumerate(self, most: int = _MOST_LISTED) -> Iterator[Trace]:
        """Every candidate, sketch by sketch, in a fixed order.

        Raises:
            UsageError: there are more than ``most``.
        """
        total = self.count()
        if total.value > most:
            raise UsageError(
                f"the space holds {total} candidates of '{self.program.name}', too many to list; "
                f"expected at most {most}; draw some with sample()"
            )
        for sketch in self.sketches:
            for leaf in leaves(sketch.trace, self.program):
                for decisions in leaf.decisions():
                    trace = Trace(sketch.trace.instructions, decisions)
                    if _key(trace) not in self._without:
                        yield trace

    # -- some candidates -------------------------------------------------------------------------

    def sample(self, count: int, *, seed: int = 0) -> tuple[Schedule, ...]:
        """Draw different candidates that the postprocessors accept, each finished.

        Args:
            count: how many; fewer come where hardly any are left or accepted.
            seed: of the draws.
        """
        rng = np.random.default_rng(seed)
        met = set(self._without)
        found: list[Schedule] = []
        for _ in range(_DRAWS_EACH * count if self.sketches else 0):
            if len(found) == count:
                break
            drawn = self.draw(int(rng.integers(len(self.sketches))), rng)
            if isinstance(drawn, Rejected) or (key := _key(drawn.trace)) in met:
                continue
            met.add(key)
            done = self.finish(drawn)
            if not isinstance(done, Rejected):
                found.append(done)
        return tuple(found)

    def draw(self, number: int, rng: np.random.Generator) -> Schedule | Rejected:
        """Replay a sketch with drawn decisions; `Rejected`, by its rule, where a step is refused.

        Args:
            number: number of the sketch.
            rng: the source of the draws.
        """
        sketch = self.sketches[number]
        schedule = Schedule(self.program, choices=Draw(rng))
        try:
            resume(schedule, sketch.trace.instructions)
        except MetaschedError as error:
            at = len(schedule.trace.instructions)
            return Rejected(sketch.origins[at], str(error).splitlines()[0])
        return schedule

    def attempt(self, number: int, seed: int) -> Schedule | Rejected:
        """Draw one candidate of a sketch and finish it, or say what rejected it."""
        drawn = self.draw(number, np.random.default_rng(seed))
        return drawn if isinstance(drawn, Rejected) else self.finish(drawn)

    def run(self, rng: np.random.Generator) -> Trace | None:
        """A fresh run of one of the space's schedule functions; None where it has none.

        Where it took a way not met before, candidates of that sketch are finished as it wants.

        Raises:
            ScheduleError: a step was refused.
        """
        found = draw_function(self.space, self.program, self.target, rng)
        if found is not None:
            self._by_steps.setdefault(found.trace.instructions, found.postprocs)
        return None if found is None else found.trace

    def finish(self, schedule: Schedule) -> Schedule | Rejected:
        """Run the postprocessors of a candidate's sketch on a copy of it."""
        return postprocess(schedule, self.postprocs_of(schedule.trace), self.target)

    def postprocs_of(self, trace: Trace) -> tuple[AbstractPostproc, ...]:
        """The postprocessors of a candidate, those of the space where it is of no sketch."""
        found = self._by_steps.get(trace.instructions)
        return self.space.postprocs_on(self.target) if found is None else found

    @cached_property
    def _by_steps(self) -> dict[tuple[Instruction, ...], tuple[AbstractPostproc, ...]]:
        return {s.trace.instructions: s.postprocs for s in reversed(self.sketches)}

    # -- one candidate ---------------------------------------------------------------------------

    def __contains__(self, trace: object) -> bool:
        return isinstance(trace, Trace | str | Schedule) and bool(self.find(trace))

    def find(self, trace: Trace | Schedule | str) -> Membership:
        """Whether a trace is a candidate, and why it is not.

        Args:
            trace: a trace or its JSON; what postprocessors added to it does not count.

        Raises:
            TraceError: the text is no trace.
        """
        wanted = _trace(trace)
        if not self.sketches:
            return Membership(None, "the space has no sketch for the program")
        for number, sketch in enumerate(self.sketches):
            if sketch.trace.instructions == wanted.instructions:
                reason = self._why_illegal(wanted)
                return Membership(None if reason else number, reason)
        return Membership(None, self._nearest(wanted))

    def minus(self, traces: Iterable[Trace | Schedule | str]) -> ProgramSpace:
        """The same candidates without some, such as those measured before; others are ignored."""
        keys = {_key(trace) for item in traces if self.find(trace := _trace(item))}
        return ProgramSpace(self.space, self.program, self.target, self._without | keys)

    def _why_illegal(self, trace: Trace) -> str:
        if _key(trace) in self._without:
            return "the candidate was taken out of the space"
        schedule = Schedule(self.program, choices=Replay(dict(trace.decisions)))
        try:
            resume(schedule, trace.instructions)
        except MetaschedError as error:
            return str(error).splitlines()[0]
        return ""

    def _nearest(self, trace: Trace) -> str:
        agreed = [_agreement(sketch.trace, trace) for sketch in self.sketches]
        number = max(range(len(agreed)), key=lambda k: agreed[k])
        at, steps = agreed[number], self.sketches[number].trace.instructions
        expected = steps[at].kind if at < len(steps) else "no further step"
        given = trace.instructions[at].kind if at < len(trace.instructions) else "the end"
        origin = f" of {self.sketches[number].origins[at]}" if at < len(steps) else ""
        return (
            f"no sketch takes these steps; sketch {number} agrees in {at}, then it has {expected}"
            f"{origin} and the trace {given}"
        )


def _trace(item: Trace | Schedule | str) -> Trace:
    if isinstance(item, Schedule):
        item = item.trace
    return (Trace.from_json(item) if isinstance(item, str) else item).without_postproc()


def _key(trace: Trace) -> Key:
    return trace.instructions, tuple(sorted(trace.decisions.items()))


def _agreement(sketch: Trace, trace: Trace) -> int:
    """How many steps two traces begin with in common."""
    pairs = zip(sketch.instructions, trace.instructions, strict=False)
    return next(
        (k for k, (a, b) in enumerate(pairs) if a != b),
        min(len(sketch.instructions), len(trace.instructions)),
    )
