"""Steps of the annotations."""

from __future__ import annotations

import random
from functools import partial

from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref
from tests.core.schedule.steps.step import Proposal, Step, a_block, a_loop


def annotate(rng: random.Random, sch: Schedule) -> Proposal:
    value = rng.choice([rng.randint(-2, 9), "text", [1, 2]])
    return partial(sch.annotate, _target(rng, sch), _key(rng), value)


def unannotate(rng: random.Random, sch: Schedule) -> Proposal:
    target, key = _target(rng, sch), _key(rng)
    known = [name for name, _ in sch.get(target).annotations]
    if not known and rng.random() < 0.8:
        sch.annotate(target, key, 1)
    return partial(sch.unannotate, target, rng.choice(known) if known else key)


def enter_postproc(rng: random.Random, sch: Schedule) -> Proposal:
    return partial(sch.enter_postproc)


def _target(rng: random.Random, sch: Schedule) -> Ref:
    return a_loop(rng, sch) if rng.random() < 0.5 else a_block(rng, sch)


def _key(rng: random.Random) -> str:
    return f"note_{rng.randint(0, 2)}"


STEPS = (
    Step("annotate", annotate, 1),
    Step("enter_postproc", enter_postproc, 1),
    Step("unannotate", unannotate, 1),
)
