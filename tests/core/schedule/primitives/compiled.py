"""Schedules through C, for primitives that lowering must know."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from metasched.codegen import emit
from metasched.ir.reference import evaluate
from metasched.lower import lower
from metasched.schedule.schedule import Schedule
from metasched.testing.equivalence import random_inputs
from tests.core.codegen.running import run
from tests.core.lower.programs import Machine


def c_body(schedule: Schedule) -> str:
    """The C kernel from its first loop or array on, without the lines that bind arguments."""
    lines = emit(lower(schedule.program, Machine()), Machine()).text.splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith("void"))
    return "\n".join(line for line in lines[first + 1 : -1] if "args[" not in line) + "\n"


def check_compiled(schedule: Schedule, folder: Path, *, rtol: float = 1e-5) -> None:
    """The compiled program gives what the unscheduled one means."""
    inputs = random_inputs(schedule.original, seed=3)
    want = evaluate(schedule.original, inputs)
    got = run(schedule.program, inputs, folder)
    for name, array in want.items():
        np.testing.assert_allclose(got[name], array, rtol=rtol, atol=rtol, err_msg=f"{name}")
