"""Replays of one sketch with many decisions, where equal beginnings are replayed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

from metasched.errors import MetaschedError
from metasched.ir.stmt import Program
from metasched.schedule.replay import resume
from metasched.schedule.samplers.site import AbstractSite
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Decision
from metasched.trace.trace import Trace

Choose: TypeAlias = Callable[[int, AbstractSite], Decision]


@dataclass(slots=True)
class _Fork:
    """A schedule in front of a structural step, and what that step offers there."""

    schedule: Schedule
    site: AbstractSite


@final
class Forks:
    """A tree of the ways to replay a sketch: a node per sequence of structural decisions.

    Moving a block costs a hundred times what scoring a candidate does, and asking where it may move
    costs a trial of each place. The nodes keep both: a schedule to go on from, and a site that
    remembers what it was asked.

    Args:
        sketch: the steps.
        program: what they are applied to.
        structural: indices of the steps that are decided here; other choices stay symbolic.
        most: how many nodes are kept; the least recently used ones go first.
    """

    def __init__(
        self, sketch: Trace, program: Program, structural: Sequence[int], most: int = 128
    ) -> None:
        self._steps = sketch.instructions
        self._cuts = (*sorted(structural), len(self._steps))
        self._program = program
        self._most = most
        self._nodes: dict[tuple[Decision, ...], _Fork | MetaschedError] = {}

    def replay(self, choose: Choose) -> Schedule:
        """The sketch replayed with the structural decisions that ``choose`` takes.

        Raises:
            TraceError, ScheduleError: a step is refused, now or when it was first tried.
        """
        taken: tuple[Decision, ...] = ()
        fork: _Fork | None = None
        for index in self._cuts[:-1]:
            fork = self._node(taken, fork)
            taken = (*taken, choose(index, fork.site))
        return self._advance(taken, fork)

    def _node(self, taken: tuple[Decision, ...], before: _Fork | None) -> _Fork:
        found = self._nodes.pop(taken, None)
        if found is None:
            found = self._grow(taken, before)
        self._nodes[taken] = found
        while len(self._nodes) > self._most:
            self._nodes.pop(next(iter(self._nodes)))
        if isinstance(found, MetaschedError):
            raise found
        return found

    def _grow(self, taken: tuple[Decision, ...], before: _Fork | None) -> _Fork | MetaschedError:
        try:
            schedule = self._advance(taken, before)
            return _Fork(schedule, schedule.offer(self._steps[self._cuts[len(taken)]]))
        except MetaschedError as error:
            return error.with_traceback(None)

    def _advance(self, taken: tuple[Decision, ...], before: _Fork | None) -> Schedule:
        """Replay from the previous structural step, its decision the last taken, to the next."""
        free = _Taken(taken[-1] if taken else None)
        if before is None:
            schedule, first = Schedule(self._program, choices=free), 0
        else:
            schedule, first = before.schedule.copy(), self._cuts[len(taken) - 1]
            schedule.choices = free
        resume(schedule, self._steps[: self._cuts[len(taken)]], first)
        if before is not None:
            schedule.sites[first] = before.site
        return schedule


class _Taken:
    """The decision of one structural step, known to be legal; other choices stay symbolic."""

    def __init__(self, decision: Decision | None) -> None:
        self._decision = decision

    def choose(self, index: int, site: AbstractSite) -> Decision | None:
        decision, self._decision = self._decision, None
        return decision
