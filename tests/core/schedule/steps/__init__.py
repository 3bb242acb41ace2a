"""Random applications of primitives: one module a family, each with its `STEPS`.

The random tests pick a `Step` again and again and try what it proposes. To cover a primitive, add
to the module of its family (a new module is one more line here)::

    def storage_align(rng: random.Random, sch: Schedule) -> Proposal:
        block = a_block(rng, sch)
        return partial(sch.storage_align, block, 0, rng.randrange(-1, 3), rng.choice([4, 16]), 1)

    STEPS = (Step("storage_align", storage_align),)

A step should often be legal and sometimes not: arguments out of range, loops of other blocks, what
was parallelised before. It may prepare the ground with other primitives (`tensorize` splits the
loops it needs), and it raises `ScheduleError` where the program offers nothing to try. All choices
come from ``rng``, so that a failure shrinks. `test_steps` demands a step of every primitive, and
that it succeeds somewhere; see `step` for the pickers.
"""

from __future__ import annotations

from tests.core.schedule.steps import (
    lookup,
    loops,
    movement,
    notes,
    placement,
    reduction,
    sampling,
)
from tests.core.schedule.steps.step import Step

STEPS: tuple[Step, ...] = (
    *lookup.STEPS,
    *loops.STEPS,
    *movement.STEPS,
    *notes.STEPS,
    *placement.STEPS,
    *reduction.STEPS,
    *sampling.STEPS,
)
