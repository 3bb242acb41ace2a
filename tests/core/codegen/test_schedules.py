"""Schedules of the default space through C, against the reference interpreter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metasched import ops
from metasched.ir.reference import evaluate
from metasched.ir.stmt import Program
from metasched.schedule.schedule import Schedule
from metasched.space.default_schedule import default_schedule
from metasched.space.space import Space
from metasched.testing import suite
from metasched.testing.equivalence import random_inputs
from tests.core.codegen.running import run
from tests.core.space.outline import TARGET

pytestmark = pytest.mark.cc

PROGRAMS = {
    # Two rows are unrolled, each with partial sums in registers of its own.
    "norms": ops.norm(b=2, m=5, n=14),
    "softmax": ops.softmax(m=2, n=32),
    # Taps beyond the kernel: a choice between a product of vectors and zeros.
    "transposed": ops.conv2d_transpose(h=4, w=4, ci=1, co=1, k=3, s=2, p=1),
    "prime": ops.dense(m=19, n=23, k=5, bias=True, activation="relu"),
    "packed": ops.attention_scores(h=2, l=17, d=6),
    "padded": suite.small("CBR"),
}


def check(program: Program, scheduled: Program, folder: Path) -> None:
    inputs = random_inputs(program, seed=0)
    want, got = evaluate(program, inputs), run(scheduled, inputs, folder)
    for name, array in want.items():
        np.testing.assert_allclose(got[name], array, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", PROGRAMS)
def test_default_schedules(name: str, tmp_path: Path) -> None:
    program = PROGRAMS[name]
    check(program, default_schedule(program, TARGET).program, tmp_path)


@pytest.mark.parametrize("name", PROGRAMS)
def test_samples(name: str, tmp_path: Path) -> None:
    program = PROGRAMS[name]
    bound = Space.default().on(program, TARGET)
    done = bound.attempt(len(bound.sketches) - 1, seed=1)
    assert isinstance(done, Schedule)
    check(program, done.program, tmp_path)


def test_partitioned_reductions_and_merged_nests(tmp_path: Path) -> None:
    program = ops.matmul(m=5, n=7, k=11)
    sch = Schedule(program)
    block = sch.get_block("c")
    i, _, k = sch.get_loops(block)
    sch.decompose_reduction(block, i)
    init = sch.get_block("c_init")
    sch.merge(sch.get_loops(init)[1], sch.get_loops(block)[1])
    sch.loop_partition(k, [8])
    check(program, sch.program, tmp_path)
    plain = Schedule(program)
    plain.loop_partition(plain.get_loops(plain.get_block("c"))[2], [8])
    check(program, plain.program, tmp_path)


def test_a_loop_that_drives_spatial_and_reduce_iterations(tmp_path: Path) -> None:
    program = ops.matmul(m=5, n=7, k=11)
    sch = Schedule(program)
    sch.fuse(*sch.get_loops(sch.get_block("c"))[1:])
    check(program, sch.program, tmp_path)
