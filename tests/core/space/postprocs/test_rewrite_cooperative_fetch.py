from __future__ import annotations

import pytest

from metasched import ops
from metasched.ir.stmt import For, Program
from metasched.schedule.schedule import Schedule
from metasched.space.postprocs import RewriteCooperativeFetch, postprocess
from metasched.space.rules.multi_level_tiling_gpu import FETCH
from metasched.target import Target
from metasched.testing.equivalence import check_equivalent

GPU = Target("cuda:sm_90")


def noted(program: Program, length: int, threads: int) -> Schedule:
    """A product whose first operand is copied to shared memory, row block by row block."""
    sch = Schedule(program)
    block = sch.get_block("c")
    i, j, k = sch.get_loops(block)
    blocks, rows = sch.split(i, (None, 4))
    outer, lanes = sch.split(j, (None, threads))
    sch.reorder(blocks, outer, lanes, k, rows)
    sch.bind(sch.fuse(blocks, outer), "blockIdx.x")
    sch.bind(lanes, "threadIdx.x")
    copy = sch.cache_read(block, 0, "shared")
    sch.compute_at(copy, lanes, preserve_unit_loops=True)
    sch.annotate(copy, FETCH, length)
    return sch


def copy_loops(sch: Schedule) -> list[tuple[str, str]]:
    loops: list[For] = list(sch.state.loops_above(sch.state.block("a_shared")))
    return [(str(loop.extent), loop.thread or loop.kind) for loop in loops[2:]]


@pytest.mark.parametrize(
    ("k", "length", "expected"),
    [
        (32, 4, [("4", "serial"), ("8", "threadIdx.x"), ("4", "vectorized")]),
        (32, 1, [("16", "serial"), ("8", "threadIdx.x")]),
        (30, 4, [("8", "serial"), ("8", "threadIdx.x"), ("2", "vectorized")]),
        (7, 4, [("4", "serial"), ("8", "threadIdx.x")]),
    ],
)
def test_threads_share_a_copy_by_vectors_that_end_with_a_row(
    k: int, length: int, expected: list[tuple[str, str]]
) -> None:
    program = ops.matmul(m=8, n=16, k=k)
    result = postprocess(noted(program, length, 8), (RewriteCooperativeFetch(),), GPU)
    assert isinstance(result, Schedule)
    assert copy_loops(result) == expected
    check_equivalent(program, result.program)
