"""Every primitive has a step, and every step succeeds somewhere."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from metasched.schedule.primitives import PRIMITIVES
from metasched.schedule.samplers import SAMPLERS
from metasched.schedule.schedule import Schedule
from tests.core.schedule.random_programs import random_program
from tests.core.schedule.steps import STEPS
from tests.core.schedule.steps.step import Step, attempt


def test_every_primitive_has_one_step() -> None:
    assert Counter(step.name for step in STEPS) == Counter([*PRIMITIVES, *SAMPLERS])


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_it_succeeds_somewhere(step: Step) -> None:
    for seed in range(60):
        rng = random.Random(seed)
        sch = Schedule(random_program(rng), seed=seed)
        for before in rng.choices(STEPS, k=rng.randint(0, 2)):
            attempt(before, rng, sch)
        if attempt(step, rng, sch):
            return
    pytest.fail(f"{step.name} was refused in 60 schedules")
