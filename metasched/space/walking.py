"""The structures of a sketch: a tree over the steps that reshape the program, walked or probed.

Compute locations and choices that loops are split by reshape the program. Below each leaf of the
tree the other sites do not depend on each other. Read `counting` for what this is for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from metasched.errors import MetaschedError
from metasched.ir.stmt import Program
from metasched.schedule.replay import resume
from metasched.schedule.samplers import SAMPLERS
from metasched.schedule.samplers.site import AbstractSite
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Decision, refs_in
from metasched.trace.trace import Trace


@dataclass(frozen=True, slots=True)
class Leaf:
    """A sketch with its structural decisions taken.

    Attributes:
        structural: those decisions, by index.
        free: the other sites, by index; their choices do not depend on each other.
        weight: one over the chance of a random descent to come here.
    """

    structural: Mapping[int, Decision]
    free: Mapping[int, AbstractSite]
    weight: float = 1.0

    @property
    def size(self) -> int:
        """How many candidates there are below."""
        return prod(site.size() for site in self.free.values())

    def decisions(self) -> Iterator[dict[int, Decision]]:
        """The decisions of each of them."""
        for chosen in product(*(site.decisions() for site in self.free.values())):
            yield {**self.structural, **dict(zip(self.free, chosen, strict=True))}


def structural_steps(sketch: Trace) -> tuple[int, ...]:
    """Indices of the sampling steps whose decision reshapes the program.

    Tile sizes do not, nor do categorical choices whose value is only noted in annotations.
    """
    return tuple(
        index
        for index, step in enumerate(sketch.instructions)
        if step.kind in SAMPLERS
        and step.kind not in ("sample_perfect_tile", "sample_partitioned_tile")
        and not (step.kind == "sample_categorical" and _only_annotates(sketch, index))
    )


def free_steps(sketch: Trace) -> frozenset[int]:
    """Indices of the other sampling steps."""
    sampling = {i for i, step in enumerate(sketch.instructions) if step.kind in SAMPLERS}
    return frozenset(sampling.difference(structural_steps(sketch)))


def leaves(sketch: Trace, program: Program) -> Iterator[Leaf]:
    """Every structure of a sketch; those that cannot be replayed are left out."""
    stack = [_Branch(Schedule(program, choices=_Symbols()), {})]
    walk = _Walk(sketch)
    while stack:
        branch = stack.pop()
        site = walk.advance(branch.schedule)
        if site is None:
            continue
        if isinstance(site, Leaf):
            yield Leaf(branch.taken, site.free)
            continue
        index = len(branch.schedule.trace.instructions)
        stack.extend(branch.take(walk, index, d) for d in reversed(list(site.decisions())))


def probe(sketch: Trace, program: Program, rng: np.random.Generator) -> Leaf | None:
    """One random descent; None where it ends in a structure that cannot be replayed."""
    branch, weight = _Branch(Schedule(program, choices=_Symbols()), {}), 1.0
    walk = _Walk(sketch)
    while True:
        site = walk.advance(branch.schedule)
        if site is None or isinstance(site, Leaf):
            return site and Leaf(branch.taken, site.free, weight)
        choices = list(site.decisions())
        weight *= len(choices)
        index = len(branch.schedule.trace.instructions)
        branch = branch.take(walk, index, choices[int(rng.integers(len(choices)))])


@dataclass(frozen=True, slots=True)
class _Branch:
    schedule: Schedule
    taken: Mapping[int, Decision]

    def take(self, walk: _Walk, index: int, decision: Decision) -> _Branch:
        """A copy that has taken a legal decision at the step where the walk stands."""
        schedule = self.schedule.copy()
        schedule.run(walk.steps[index], decision)
        return _Branch(schedule, {**self.taken, index: decision})


class _Walk:
    """Replays the steps between structural ones."""

    def __init__(self, sketch: Trace) -> None:
        self.steps = sketch.instructions
        self._structural = structural_steps(sketch)
        self._free = free_steps(sketch)

    def advance(self, schedule: Schedule) -> AbstractSite | Leaf | None:
        """The next structural site, or the leaf at the end; None where a step is refused."""
        first = len(schedule.trace.instructions)
        stop = next((i for i in self._structural if i >= first), None)
        try:
            resume(schedule, self.steps[:stop], first)
            if stop is None:
                return Leaf({}, {i: schedule.sites[i] for i in sorted(self._free)})
            return schedule.offer(self.steps[stop])
        except MetaschedError:
            return None


class _Symbols:
    """Keeps every choice that is not structural symbolic."""

    def choose(self, index: int, site: AbstractSite) -> Decision | None:
        return None


def _only_annotates(sketch: Trace, index: int) -> bool:
    outputs = sketch.instructions[index].outputs
    return all(
        step.kind == "annotate"
        for step in sketch.instructions
        if any(ref in outputs for value in step.inputs for ref in refs_in(value))
    )
