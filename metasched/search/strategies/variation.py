"""Make children of a whole population: mutation by weighted mutators, and crossover."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np

from metasched.search.mutators import AbstractMutator, Mutated
from metasched.search.population import Population, padded
from metasched.search.problem import Floats, Ints
from metasched.search.strategies.strategy import Context


@final
class Variation:
    """Children by mutation (a share of them) and crossover within a structure.

    Args:
        mutators: Mutators and their weights.
        mutate: Share of the children that come from mutation.
    """

    def __init__(self, mutators: Mapping[AbstractMutator, float], mutate: float) -> None:
        self._mutators = tuple(mutators)
        weights: Floats = np.array(list(mutators.values()), dtype=np.float64)
        self._weights = weights / weights.sum()
        self._mutate = mutate

    def offspring(self, parents: Population, context: Context) -> tuple[Population, Ints, Ints]:
        """One child per parent.

        Returns:
            The parents (some drawn anew, so that few structures change at a time), and owners
            ``(n,)`` and rows ``(n, w)`` of their children.
        """
        rng, count = context.rng, len(parents)
        chosen = rng.choice(len(self._mutators), size=count, p=self._weights)
        chosen = np.where(rng.random(count) < self._mutate, chosen, -1)
        parents = self._gather_structural(parents, chosen, rng)
        owner = parents.owner.copy()
        parts: list[tuple[Ints, Ints]] = []
        for number, index in parents.groups():
            for kind in np.unique(chosen[index]):
                part = index[chosen[index] == kind]
                child, rows = self._children(parents, number, index, part, int(kind), context)
                owner[part] = child
                parts.append((part, rows))
        children = np.zeros((count, max(rows.shape[1] for _, rows in parts)), dtype=np.int64)
        for part, rows in parts:
            children[part] = padded(rows, children.shape[1])
        return parents, owner, children

    def _gather_structural(
        self, parents: Population, chosen: Ints, rng: np.random.Generator
    ) -> Population:
        """Give each structural mutator parents of a single structure, drawn by its share."""
        index = np.arange(len(parents))
        for kind, mutator in enumerate(self._mutators):
            moved = np.flatnonzero(chosen == kind)
            if mutator.structural and len(moved):
                number = parents.owner[int(rng.integers(len(parents)))]
                index[moved] = rng.choice(np.flatnonzero(parents.owner == number), len(moved))
        return parents.take(index)

    def _children(
        self,
        parents: Population,
        number: int,
        family: Ints,
        part: Ints,
        kind: int,
        context: Context,
    ) -> tuple[int, Ints]:
        structure = context.book[number]
        width = len(structure.tables)
        rows = parents.rows[part, :width]
        if kind < 0:
            partners = parents.rows[context.rng.choice(family, len(part)), :width]
            return number, np.where(context.rng.random(rows.shape) < 0.5, rows, partners)
        changed = self._mutated(kind, number, rows, context)
        if changed is None:
            return number, rows
        return context.book.number(changed[0]), changed[1]

    def _mutated(self, kind: int, number: int, rows: Ints, context: Context) -> Mutated | None:
        """The chosen mutator, or the first other one that has something to change."""
        others = (m for k, m in enumerate(self._mutators) if k != kind and not m.structural)
        for mutator in (self._mutators[kind], *others):
            changed = mutator.mutate(context.book[number], rows, context.structures, context.rng)
            if changed is not None:
                return changed
        return None
