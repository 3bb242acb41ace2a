"""The uses that are timed must work: a bench that is run by hand rots otherwise."""

from __future__ import annotations

import pytest

from metasched.schedule.primitives import PRIMITIVES
from metasched.schedule.samplers import SAMPLERS
from tests.bench.uses import USES, loops, nest


def test_the_nest_has_12_loops() -> None:
    assert len(loops(nest())) == 12


def test_uses_are_of_primitives() -> None:
    assert USES.keys() <= {*PRIMITIVES, *SAMPLERS}


@pytest.mark.parametrize("kind", USES)
def test_a_use_is_a_step_of_its_primitive(kind: str) -> None:
    sch = nest()
    step = USES[kind](sch)
    timed = sch.copy()
    step(timed)
    assert timed.trace.instructions[-1].kind == kind
