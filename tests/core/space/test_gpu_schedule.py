from __future__ import annotations

import pytest

from metasched import ops
from metasched.ir.stmt import For, Program
from metasched.ir.walk import blocks, walk
from metasched.schedule.replay import replay
from metasched.space.binding import threads_for
from metasched.space.default_schedule import default_schedule
from metasched.space.loop_choice import nests
from metasched.target import Target
from metasched.testing import suite
from metasched.testing.equivalence import check_equivalent

GPU = Target("cuda:sm_90")


def check_kernels(program: Program) -> None:
    schedule = default_schedule(program, GPU)
    for nest in nests(schedule.state):
        assert isinstance(nest, For)
        assert nest.thread == "blockIdx.x", f"a nest that is no kernel:\n{nest}"
    for buffer in schedule.program.root.allocs:
        users = [
            nest
            for nest in nests(schedule.state)
            if any(r.buffer == buffer for b in blocks(nest) for r in (*b.reads, *b.writes))
        ]
        assert buffer.scope == "global" or len(users) == 1, f"{buffer.name} outlives a kernel"
    check_equivalent(program, schedule.program)
    assert replay(schedule.trace, program).program == schedule.program


@pytest.mark.parametrize("name", suite.SUITE)
def test_every_operator_becomes_kernels_that_compute_the_same(name: str) -> None:
    check_kernels(suite.small(name))


@pytest.mark.parametrize(
    "program",
    [
        ops.matmul(m=19, n=34, k=7),
        ops.matmul(m=1, n=1, k=1),
        ops.conv2d(h=17, w=19, ci=3, co=5, k=3, s=1, p=1),
        ops.layer_norm(m=6, n=40),
        ops.argmax(m=5, n=33),
        ops.transpose(m=7, n=13),
        ops.matmul(m=6, n=20, k=10, dtype="int8", acc_dtype="int32"),
        ops.norm(b=1, m=37, n=31),
    ],
    ids=lambda p: p.name,
)
def test_odd_sizes_become_kernels_that_compute_the_same(program: Program) -> None:
    check_kernels(program)


def test_small_nests_take_smaller_blocks_to_reach_every_multiprocessor() -> None:
    assert threads_for(1 << 20, 256, 132) == 256
    assert threads_for(132 * 64, 256, 132) == 64
    assert threads_for(100, 256, 132) == 32


def test_products_are_tiled_over_threads_with_operands_in_shared_memory() -> None:
    program = default_schedule(suite.program("GMM-1024"), GPU).program
    scopes = [buffer.scope for buffer in program.root.allocs]
    assert sorted(scopes) == ["local", "shared", "shared"]
    loops = [node for node in walk(program.root) if isinstance(node, For)]
    assert sum(loop.kind == "vectorized" for loop in loops) == 3, (
        "copies and stores of several elements"
    )


def test_a_softmax_is_one_kernel_with_sums_across_threads() -> None:
    schedule = default_schedule(suite.program("SFM"), GPU)
    assert len(nests(schedule.state)) == 1
    assert {b.scope for b in schedule.program.root.allocs} == {"shared"}
