from __future__ import annotations

import pytest

from metasched import ops
from metasched.ir.stmt import Invoke, Program
from metasched.ir.walk import walk
from metasched.schedule.schedule import Schedule
from metasched.space.default_schedule import default_schedule
from metasched.space.generate import drafts
from metasched.space.rules import ReindexToMatrices
from metasched.target import Target
from metasched.testing.equivalence import check_equivalent

AMPERE = Target("cuda:sm_80")
CONV = ops.conv2d(h=6, w=8, ci=16, co=16, k=3, p=1, dtype="float16")


def reindexed(program: Program) -> Schedule:
    (draft,) = drafts(program, (ReindexToMatrices(),), AMPERE)
    return draft


def test_a_convolution_becomes_a_product_of_matrices() -> None:
    block = reindexed(CONV).state.block("conv")
    assert [str(it.extent) for it in block.iters] == ["48", "16", "144"]
    check_equivalent(CONV, reindexed(CONV).program)


@pytest.mark.parametrize(
    "program",
    [
        CONV,
        ops.conv2d(h=5, w=7, ci=8, co=20, k=3, s=2, p=1, dtype="float16"),
        ops.conv1d(l=32, ci=16, co=32, k=3, s=1, p=1, dtype="float16"),
        ops.transpose_batch_matmul(b=1, l=32, h=2, d=16, dtype="float16"),
    ],
    ids=lambda p: p.name,
)
def test_tensor_cores_compute_the_same(program: Program) -> None:
    schedule = default_schedule(program, AMPERE)
    assert any(isinstance(node, Invoke) for node in walk(schedule.program.root))
    check_equivalent(program, schedule.program)


@pytest.mark.parametrize(
    "program",
    [
        ops.conv2d(h=6, w=8, ci=16, co=16, k=3, p=1),
        ops.matmul(m=32, n=32, k=32, dtype="float16"),
        ops.softmax(m=8, n=32),
    ],
    ids=lambda p: p.name,
)
def test_other_programs_stay(program: Program) -> None:
    assert reindexed(program).program == program
