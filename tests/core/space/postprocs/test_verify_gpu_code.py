from __future__ import annotations

import pytest

from metasched import ops
from metasched.schedule.schedule import Schedule
from metasched.space.postprocs import Rejected, VerifyGpuCode, postprocess
from metasched.target import Target


def tile(rows: int, threads: int) -> Schedule:
    sch = Schedule(ops.matmul(m=4096, n=4096, k=64))
    block = sch.get_block("c")
    i, j, k = sch.get_loops(block)
    blocks, inner = sch.split(i, (None, rows))
    outer, lanes = sch.split(j, (None, threads))
    sch.reorder(blocks, outer, lanes, k, inner)
    sch.bind(sch.fuse(blocks, outer), "blockIdx.x")
    sch.bind(lanes, "threadIdx.x")
    copy = sch.cache_read(block, 0, "shared")
    sch.compute_at(copy, lanes)
    back = sch.cache_write(block, 0, "local")
    sch.reverse_compute_at(back, lanes)
    return sch


@pytest.mark.parametrize(
    ("rows", "threads", "target", "given"),
    [
        (64, 256, "cuda:sm_90", None),
        (64, 2048, "cuda:sm_90", "threads of a block"),
        (256, 64, "cuda:sm_90", "registers of a thread"),
        (128, 512, "cuda:sm_90", "registers of a block"),
        (208, 64, "opencl", "bytes of shared memory"),
        (208, 64, "cuda:sm_90", None),
    ],
)
def test_what_a_kernel_takes_is_compared_with_the_target(
    rows: int, threads: int, target: str, given: str | None
) -> None:
    result = postprocess(tile(rows, threads), (VerifyGpuCode(),), Target(target))
    expected = None if given is None else f"more {given} than the GPU has"
    assert (result.reason if isinstance(result, Rejected) else None) == expected
