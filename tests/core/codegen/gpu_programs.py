"""Programs scheduled for GPUs by hand, as an expert would."""

from __future__ import annotations

from metasched import ops
from metasched.ir.stmt import Program
from metasched.schedule.schedule import Schedule


def elementwise(n: int = 1000, m: int = 3, threads: int = 64, lanes: int = 1) -> Program:
    """``relu(a + b)``, split over blocks and threads, each thread taking vectors of ``lanes``."""
    schedule = Schedule(ops.add_relu(m=n, n=m), seed=0)
    schedule.compute_inline(schedule.get_block("t"))
    loop = schedule.fuse(*schedule.get_loops(schedule.get_block("o")))
    block, thread, vector = schedule.split(loop, [None, threads, lanes])
    schedule.bind(block, "blockIdx.x")
    schedule.bind(thread, "threadIdx.x")
    schedule.vectorize(vector)
    return schedule.program


def matmul(
    m: int,
    n: int,
    k: int,
    *,
    block: tuple[int, int, int] = (32, 32, 16),
    tile: tuple[int, int] = (4, 4),
    virtual: tuple[int, int] = (1, 1),
    lanes: int = 4,
    dtype: str = "float32",
    acc_dtype: str | None = None,
    pad: int = 0,
    pipeline: dict[str, tuple[int, ...]] | None = None,
) -> Program:
    """Shared tiles fetched together, register tiles, virtual threads."""
    schedule = Schedule(ops.matmul(m=m, n=n, k=k, dtype=dtype, acc_dtype=acc_dtype), seed=0)
    product = schedule.get_block("c")
    result = schedule.cache_write(product, 0, "local")
    i, j, r = schedule.get_loops(product)
    ty = block[0] // tile[0] // virtual[0]
    tx = block[1] // tile[1] // virtual[1]
    i0, i1, i2, i3 = schedule.split(i, [None, virtual[0], ty, tile[0]])
    j0, j1, j2, j3 = schedule.split(j, [None, virtual[1], tx, tile[1]])
    r0, r1 = schedule.split(r, [None, block[2]])
    schedule.reorder(i0, j0, i1, j1, i2, j2, r0, r1, i3, j3)
    for loop, axis in zip(
        (i0, j0, i1, j1, i2, j2),
        ("blockIdx.y", "blockIdx.x", "vthread.y", "vthread.x", "threadIdx.y", "threadIdx.x"),
        strict=True,
    ):
        schedule.bind(loop, axis)
    schedule.reverse_compute_at(result, j2)
    for number in (0, 1):
        cache = schedule.cache_read(product, number, "shared")
        schedule.compute_at(cache, r0, preserve_unit_loops=True)
        fused = schedule.fuse(*schedule.get_loops(cache)[-2:])
        _, y, x, vector = schedule.split(fused, [None, ty, tx, lanes])
        schedule.bind(y, "threadIdx.y")
        schedule.bind(x, "threadIdx.x")
        schedule.vectorize(vector)
        if pad:
            schedule.storage_align(cache, 0, 0, pad, lanes)
    for key, value in (pipeline or {}).items():
        schedule.annotate(r0, key, value)
    return schedule.program


def row_sums(
    program: Program, block: str, *, rows: int = 1, threads: int = 32, scope: str = "shared"
) -> Program:
    """One reduction over rows shared by threads; ``rows`` rows to a block."""
    schedule = Schedule(program, seed=0)
    reduction = schedule.get_block(block)
    i, k = schedule.get_loops(reduction)
    bx, ty = schedule.split(i, [None, rows])
    _, tx = schedule.split(k, [None, threads])
    schedule.bind(bx, "blockIdx.x")
    schedule.bind(ty, "threadIdx.y")
    schedule.bind(tx, "threadIdx.x")
    return schedule.program
