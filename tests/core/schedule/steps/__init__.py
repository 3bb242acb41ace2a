"""Random applications of primitives: one module a family, each with its `STEPS`.

The random tests pick a `Step` again and again and try what it proposes. To cover a primitive, add
to the module of its family (a new module is one more line here)::

    def split(rng: random.Random, sch: Schedule) -> Proposal:
        return partial(sch.split, a_loop(rng, sch), [None, rng.randint(0, 5)])

    STEPS = (Step("split", split),)

A step should often be legal and sometimes not: arguments out of range, loops of other blocks, what
was parallelised before. It may prepare the ground with other primitives (`tensorize` splits the
loops it needs), and it raises `ScheduleError` where the program offers nothing to try. All choices
come from ``rng``, so that a failure shrinks. `test_steps` demands a step of every primitive, and
that it succeeds somewhere; see `step` for the pickers.
"""

from __future__ import annotations

from tests.core.schedule.steps import (
    intrin,
    layout,
    lookup,
    loops,
    memory,
    movement,
    notes,
    placement,
    reduction,
    sampling,
)
from tests.core.schedule.steps.step import Step

STEPS: tuple[Step, ...] = (
    *intrin.STEPS,
    *layout.STEPS,
    *lookup.STEPS,
    *loops.STEPS,
    *memory.STEPS,
    *movement.STEPS,
    *notes.STEPS,
    *placement.STEPS,
    *reduction.STEPS,
    *sampling.STEPS,
)
