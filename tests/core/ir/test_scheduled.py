"""Programs as the CPU space schedules them hold the rules of the IR and survive their text."""

from __future__ import annotations

import numpy as np
import pytest

from metasched.ir.hash import structural_hash
from metasched.ir.parser import parse
from metasched.ir.verify import verify
from metasched.schedule.replay import replay
from metasched.schedule.samplers.site import Draw
from metasched.space.space import Space
from metasched.testing.suite import SUITE, small
from tests.core.space.outline import TARGET


@pytest.mark.parametrize("name", SUITE)
def test_scheduled_programs(name: str) -> None:
    program = small(name)
    for number, sketch in enumerate(Space.default().on(program, TARGET).sketches):
        draw = Draw(np.random.default_rng(number))
        scheduled = replay(sketch.trace, program, choices=draw).program
        verify(scheduled)
        again = parse(str(scheduled))
        assert again == scheduled
        assert structural_hash(again) == structural_hash(scheduled)
