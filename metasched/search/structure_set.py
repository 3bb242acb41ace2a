"""The structures of one program, made on demand and remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from metasched.cost.machine import AnyMachine
from metasched.errors import MetaschedError
from metasched.ir.stmt import Program
from metasched.schedule.samplers.site import AbstractSite
from metasched.search.forks import Choose, Forks
from metasched.search.structure import Key, Rows, Structure
from metasched.space.walking import free_steps, structural_steps
from metasched.trace.instruction import Decision
from metasched.trace.trace import Trace


class StructureSet:
    """The structures of one program, made on demand and remembered.

    Args:
        program: the program to tune.
        sketches: its sketches.
        machine: rates of the target, for the prior.
        most: how many structures are kept; the least recently used ones go first.
        run: draws a candidate by a fresh run of the space's function; None where it has none.
    """

    def __init__(
        self,
        program: Program,
        sketches: Sequence[Trace],
        machine: AnyMachine,
        most: int = 512,
        run: Callable[[np.random.Generator], Trace | None] = lambda rng: None,
    ) -> None:
        self._program = program
        self._run = run
        self._machine = machine
        self._most = most
        self.sketches: list[Trace] = []
        self._free: list[frozenset[int]] = []
        self._structural: list[tuple[int, ...]] = []
        self._forks: list[Forks] = []
        for sketch in sketches:
            self._add(sketch)
        self._known: dict[Key, Structure] = {}
        self.refused: dict[str, int] = {}

    def _add(self, sketch: Trace) -> None:
        steps = structural_steps(sketch)
        self.sketches.append(sketch)
        self._free.append(free_steps(sketch))
        self._structural.append(steps)
        self._forks.append(Forks(sketch, self._program, steps))

    def get(self, number: int, structural: dict[int, Decision]) -> Structure | None:
        """The structure of a sketch with the given structural decisions.

        Decisions that are not legal (they depend on earlier ones) fall to the first legal one.
        None when the sketch cannot be replayed so; the reason is counted in `refused`.
        """

        def choose(index: int, site: AbstractSite) -> Decision:
            decision = structural.get(index)
            legal = decision is not None and site.contains(decision)
            return decision if legal and decision is not None else next(site.decisions())

        wanted: Key = (number, tuple(sorted(structural.items())))
        return self._recall(wanted) or self._make(number, choose, wanted)

    def seed(self, rng: np.random.Generator, count: int) -> list[Structure]:
        """Draw up to ``count`` distinct structures, every sketch at least once if possible."""
        found: dict[Key, Structure] = {}
        tries, first = 0, int(rng.integers(max(len(self.sketches), 1)))
        while self.sketches and len(found) < count and tries < 2 * count + len(self.sketches):
            number = (first + tries) % len(self.sketches)
            structure = self._draw(number, rng)
            if structure is not None:
                found.setdefault(structure.key, structure)
            tries += 1
        return list(found.values())

    def neighbour(self, structure: Structure, rng: np.random.Generator) -> Structure | None:
        """A structure with one structural decision, or the sketch, changed."""
        if structure.locations and rng.random() >= 0.1:
            for index in rng.permutation(list(structure.locations)):
                drawn = structure.locations[int(index)].sample(rng)
                if drawn != structure.structural[int(index)]:
                    changed = {**structure.structural, int(index): drawn}
                    return self.get(structure.key[0], changed)
        return self._draw(int(rng.integers(len(self.sketches))), rng)

    def rerun(self, rng: np.random.Generator) -> tuple[Structure, Rows] | None:
        """One candidate with everything drawn anew; a function may bring a new sketch."""
        try:
            trace = self._run(rng)
        except MetaschedError as error:
            self._count(error)
            return None
        if trace is None:
            number = int(rng.integers(max(len(self.sketches), 1)))
            structure = self._draw(number, rng) if self.sketches else None
            return structure and (structure, structure.sample(rng, 1)[0])
        if all(sketch.instructions != trace.instructions for sketch in self.sketches):
            self._add(trace)
        return self.of_trace(trace)

    def of_trace(self, trace: Trace) -> tuple[Structure, Rows] | None:
        """The structure and row of a trace of one of the sketches; None for any other trace."""
        for number, sketch in enumerate(self.sketches):
            if sketch.instructions != trace.instructions:
                continue
            free = self._free[number]
            decisions = dict(trace.decisions)
            structure = self.get(number, {i: d for i, d in decisions.items() if i not in free})
            row = None if structure is None else structure.row(decisions)
            if structure is not None and row is not None:
                return structure, row
        return None

    def _draw(self, number: int, rng: np.random.Generator) -> Structure | None:
        if not self._structural[number]:
            return self.get(number, {})  # nothing to draw
        return self._make(number, lambda _, site: site.sample(rng))

    def _make(self, number: int, choose: Choose, wanted: Key | None = None) -> Structure | None:
        """The structure that a replay with these choices comes to, and is remembered as."""
        taken: dict[int, Decision] = {}

        def noted(index: int, site: AbstractSite) -> Decision:
            taken[index] = choose(index, site)
            return taken[index]

        try:
            schedule = self._forks[number].replay(noted)
        except MetaschedError as error:
            self._count(error)
            return None
        key: Key = (number, tuple(sorted(taken.items())))
        structure = self._recall(key) or Structure(
            self.sketches[number], schedule, number, self._free[number], self._machine
        )
        self._known[key] = structure
        if wanted is not None:
            self._known[wanted] = structure
        while len(self._known) > self._most:
            self._known.pop(next(iter(self._known)))
        return structure

    def _count(self, error: MetaschedError) -> None:
        reason = str(error).splitlines()[0]
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def _recall(self, key: Key) -> Structure | None:
        found = self._known.pop(key, None)
        if found is not None:
            self._known[key] = found
        return found
