"""Random programs times random schedules: the result stays, and refusals have a reason.

`random_programs` draws programs, `steps` the primitives; hypothesis shrinks what fails.
"""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from metasched.ir.parser import parse
from metasched.ir.stmt import Block, For, Program, Stmt
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import edit_stmt, rebind
from metasched.testing.equivalence import check_equivalent
from tests.core.schedule.programs import check
from tests.core.schedule.random_programs import random_program
from tests.core.schedule.steps import STEPS
from tests.core.schedule.steps.step import attempt


def random_schedule(rng: random.Random) -> Schedule:
    """A random program after random steps."""
    sch = Schedule(random_program(rng), seed=rng.randint(0, 9))
    weights = [step.weight for step in STEPS]
    for _ in range(rng.randint(1, 12)):
        attempt(rng.choices(STEPS, weights)[0], rng, sch)
    return sch


def backwards(program: Program) -> Program:
    """The program with its parallel and vectorized loops run from the last iteration down."""

    def turn(stmt: Stmt) -> Stmt:
        if isinstance(stmt, For) and stmt.kind in ("parallel", "vectorized"):
            last = stmt.extent - 1
            return replace(stmt, body=rebind(stmt.body, {stmt.var: last - stmt.var}))
        return stmt

    root = edit_stmt(program.root, turn)
    assert isinstance(root, Block)
    return replace(program, root=root)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(rng=st.randoms(use_true_random=False))
def test_the_result_stays(rng: random.Random) -> None:
    sch = random_schedule(rng)
    check(sch)
    assert parse(str(sch.program)) == sch.program
    check_equivalent(sch.original, backwards(sch.program))
