"""Random schedules, the checks that each must pass, and the text in which a failing one is kept.

`check_schedule` is the whole contract: the program is well formed and reads back from its text, the
trace replays to the same text, and both the interpreter and the compiled program give what the
unscheduled one gives.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metasched.codegen import emit
from metasched.errors import CodegenError, ScheduleError
from metasched.ir.parser import parse
from metasched.ir.reference import evaluate
from metasched.ir.stmt import Block, For, Program, Stmt
from metasched.ir.verify import verify
from metasched.ir.walk import as_block, map_stmts, walk
from metasched.lower import lower
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import edit_stmt, rebind
from metasched.target import Target
from metasched.target.toolchain import c_flags
from metasched.testing.equivalence import check_equivalent, random_inputs
from metasched.testing.round_trip import check_round_trip
from tests.core.codegen.running import run
from tests.core.lower.programs import Machine
from tests.core.schedule.random_programs import random_program
from tests.core.schedule.steps import STEPS
from tests.core.schedule.steps.step import Step, attempt, case_text

FAILED = Path(".hypothesis")
"""Where the text of the last failure is left; hypothesis ends with the smallest one."""

FLAGS = (*c_flags(Target("cpu")), "-shared", "-fPIC")
"""What users' programs are compiled with."""


def random_schedule(rng: random.Random, steps: tuple[Step, ...] = STEPS) -> Schedule:
    """A random program after random steps."""
    sch = Schedule(random_program(rng), seed=rng.randint(0, 9))
    weighted = [step for step in steps for _ in range(step.weight)]
    for _ in range(rng.randint(1, 12)):
        attempt(rng.choice(weighted), rng, sch)
    return sch


def check_schedule(sch: Schedule, folder: Path, tally: Counter[str] | None = None) -> None:
    """Check a schedule in every way, compile it into ``folder``, and count its primitives.

    Raises:
        AssertionError: a check failed; a note shows the program and the steps.
    """
    try:
        verify(sch.program)
        assert parse(str(sch.program)) == sch.program, "the text reads back as another program"
        check_round_trip(sch)
        check_equivalent(sch.original, sch.program)
        check_equivalent(sch.original, backwards(sch.program))
        check_compiled(sch, folder)
    except Exception as error:
        error.add_note(case_text(sch))
        raise
    if tally is not None:
        tally.update(["pairs"])
        tally.update(step.kind for step in sch.trace.instructions)


def check_compiled(sch: Schedule, folder: Path) -> None:
    """Compare the compiled program with the unscheduled one.

    Every schedule compiles: a refusal to lower is a failure. C has no threads to bind loops to, so
    such loops, which are refused, run one iteration after the other.
    """
    program = sch.program
    if any(isinstance(s, For) and s.kind == "thread" for s in walk(program.root)):
        with pytest.raises(CodegenError, match="which a CPU does not have; use parallel"):
            lower(program, Machine())
        program = without_threads(program)
    lowered = lower(program, Machine())
    inputs = random_inputs(sch.original, seed=1)
    given = {p.name: inputs[p.name].astype(p.dtype.numpy()) for p in sch.original.inputs}
    wanted = evaluate(sch.original, inputs)
    got = run(program, given, folder, lowered=lowered, machine=Machine(), flags=FLAGS)
    for name, array in wanted.items():
        # Whole numbers are exact; what tanh and sqrt gave is of single precision.
        near = 1e-5 * max(1.0, float(np.abs(array).max()))
        source = emit(lowered, Machine()).text
        np.testing.assert_allclose(
            got[name].astype(np.float64), array.astype(np.float64), rtol=1e-5, atol=near,
            err_msg=f"output '{name}' of\n{program}\n{source}",
        )  # fmt: skip


def without_threads(program: Program) -> Program:
    """The program with serial loops in place of those bound to threads, in inits, too."""

    def change(stmt: Stmt) -> Stmt:
        stmt = map_stmts(stmt, change)
        if isinstance(stmt, For) and stmt.kind == "thread":
            return replace(stmt, kind="serial", thread=None)
        return stmt

    return replace(program, root=as_block(change(program.root)))


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


def read_case(text: str) -> tuple[Program, str]:
    """The program and the Python text of the steps of a kept case."""
    program, steps = text.split("\ndef apply(sch):", 1)
    return parse(program), f"def apply(sch):{steps}"


def replayed(text: str) -> Schedule:
    """The schedule of a kept case; a last step that is refused is fine, an internal error not."""
    program, steps = read_case(text)
    sch, names = Schedule(program), dict[str, Any]()
    exec(steps, names)
    try:
        names["apply"](sch)
    except ScheduleError:
        pass
    return sch
