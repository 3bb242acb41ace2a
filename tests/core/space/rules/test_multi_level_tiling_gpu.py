from __future__ import annotations

import numpy as np
import pytest

from metasched import ops
from metasched.errors import UsageError
from metasched.ir.stmt import Program
from metasched.schedule.replay import replay
from metasched.schedule.samplers.site import Draw
from metasched.space.generate import drafts
from metasched.space.rules import MultiLevelTilingGpu
from metasched.target import Target
from metasched.testing import suite
from metasched.testing.equivalence import check_equivalent
from metasched.testing.round_trip import check_symbolic_replay
from metasched.trace.trace import Trace
from tests.core.space.outline import outline

GPU = Target("cuda:sm_90")


def sketch(program: Program) -> Trace:
    (draft,) = drafts(program, (MultiLevelTilingGpu(),), GPU)
    return draft.trace


def test_outer_levels_are_bound_and_copies_stand_in_the_first_reduction_level() -> None:
    program = ops.matmul(m=64, n=64, k=64)
    tiled = replay(sketch(program), program, choices=Draw(np.random.default_rng(0))).program
    (nest,) = outline(tiled)
    assert nest == (
        "t:i_0_j_0 t:i_1_j_1 t:i_2_j_2 [k_0 [ax0_3 ax1_3 <a_shared>] [ax0_5 ax1_5 <b_shared>] "
        "[k_1 i_3 j_3 k_2 i_4 j_4 <c>]] [ax0_1 ax1_1 <c_local>]"
    )
    assert {b.name: b.scope for b in tiled.root.allocs} == {
        "c_local": "local", "a_shared": "shared", "b_shared": "shared",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["GMM-512", "C1D", "C2D", "DEP", "GRP", "T2D", "CBR", "QKT"])
@pytest.mark.parametrize("seed", range(2))
def test_tiles_compute_the_same_and_keep_their_structure(name: str, seed: int) -> None:
    program = suite.small(name)
    schedule = replay(sketch(program), program, choices=Draw(np.random.default_rng(seed)))
    check_equivalent(program, schedule.program)
    # Where an operand is read by quotients, symbolic tiles of it are only bounded.
    if name not in ("GRP", "T2D"):
        check_symbolic_replay(schedule)


def test_an_elementwise_reader_takes_the_sums_from_registers() -> None:
    program = ops.dense(m=16, n=16, k=16, bias=True)
    schedule = drafts(program, (MultiLevelTilingGpu(),), GPU)[0]
    assert "<dense_local>" not in outline(schedule.program)[0]
    scopes = [b.scope for b in schedule.program.root.allocs]
    assert sorted(scopes) == ["local", "shared", "shared"]


def test_a_structure_starts_with_a_level_for_each_axis() -> None:
    with pytest.raises(UsageError, match="with an S for each of the 3 thread axes first"):
        MultiLevelTilingGpu(structure="SSRSRS")
