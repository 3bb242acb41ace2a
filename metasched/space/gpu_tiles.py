"""Tile sizes for GPUs without search: a register tile that saves loads, blocks that fill the GPU.

Of all splits of the two loops that matter most, the one is taken that loses least: by surplus
iterations, by multiprocessors without work in the last wave, and by loads per multiply-add.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, prod
from typing import Final

from metasched.ir.expr import int_value
from metasched.ir.stmt import Block, For
from metasched.schedule.state import State
from metasched.space.default_tiles import largest_divisor, row_loop
from metasched.space.patterns import iter_loops
from metasched.space.rules.multi_level_tiling_tensor_core import TensorTiles
from metasched.space.tiling import Tiles
from metasched.target import Target
from metasched.target.gpu import OPENCL_LIMITS, GpuLimits
from metasched.target.intrinsics import TensorCoreGroup

_TERMS = 16
"""Terms of the sums that shared memory holds at a time, about."""

_LEAST_INTENSITY = 4.0
"""Multiply-adds per load from shared memory above which loads do not hold the arithmetic up."""

_LEAST_REUSE = 32.0
"""Multiply-adds per element that a block loads above which the caches keep up."""

_LANES = 4
"""Elements of one thread that lie side by side; its others lie as far away as threads reach."""


def gpu_tiles(state: State, block: Block, target: Target) -> Tiles:
    """Factors for the levels of "SSSRRSRS" for every loop of a reduction with data reuse."""
    loops = iter_loops(state, block) or ()
    kinds = [it.kind for it in block.iters]
    spatial = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == "spatial"]
    reduced = [loop for loop, kind in zip(loops, kinds, strict=True) if kind != "spatial"]
    columns = spatial[-1]
    rows = row_loop(block, spatial)
    others = prod(_size(loop) for loop in spatial if loop is not columns and loop is not rows)
    height = 1 if rows is None else _size(rows)
    limits = target.gpu or OPENCL_LIMITS
    best = max(
        _shapes(height, _size(columns)),
        key=lambda shape: _merit(shape, (height, _size(columns)), others, limits),
    )
    tiles: dict[str, tuple[int | None, ...]] = {}
    for loop in spatial:
        tiles[loop.var.name] = (None, 1, 1, 1, 1)
    if rows is not None:
        tiles[rows.var.name] = _factors(best[0], best[1])
    tiles[columns.var.name] = _factors(best[2], best[3])
    terms = _TERMS
    for loop in reversed(reduced):
        inner = largest_divisor(_size(loop), terms)
        tiles[loop.var.name] = (None, inner, 1)
        terms = max(terms // inner, 1)
    return tiles


def _size(loop: For) -> int:
    return int_value(loop.extent) or 1


def _factors(threads: int, elements: int) -> tuple[int | None, ...]:
    near = min(elements, _LANES)
    return (None, elements // near, threads, 1, near)


_Shape = tuple[int, int, int, int]
"""Threads along the rows, rows of each; threads along the columns, columns of each."""


def _shapes(height: int, width: int) -> Iterator[_Shape]:
    for down in (1, 2, 4, 8, 16, 32):
        for across in (1, 2, 4, 8, 16, 32, 64):
            if not 32 <= down * across <= 256 and (down, across) != (1, 1):
                continue
            for rows in (1, 2, 4, 8):
                for columns in (1, 2, 4, 8):
                    # A tile may be larger than the loop, but not its half.
                    if (down * rows < 2 * height or down * rows == 1) and (
                        across * columns < 2 * width or across * columns == 1
                    ):
                        yield down, rows, across, columns


def _merit(shape: _Shape, extents: tuple[int, int], others: int, limits: GpuLimits) -> float:
    down, rows, across, columns = shape
    count = [
        ceil(n / tile) for n, tile in zip(extents, (down * rows, across * columns), strict=True)
    ]
    blocks = prod(count) * others
    useful = prod(extents) / (prod(count) * down * rows * across * columns)
    threads = down * across
    full = threads / (ceil(threads / limits.warp_size) * limits.warp_size)
    registers = threads * (rows * columns + rows + columns + 24)
    together = max(
        min(
            limits.registers_per_multiprocessor // registers,
            limits.max_threads_per_multiprocessor // threads,
            limits.max_blocks_per_multiprocessor,
        ),
        1,
    )
    # Work on a multiprocessor hides its latencies once several warps take turns.
    waves = ceil(blocks / limits.multiprocessors)
    even = blocks / (waves * limits.multiprocessors)
    warps = min(waves, together) * ceil(threads / limits.warp_size)
    hidden = min(warps * rows * columns / 64, 1.0) ** 0.5
    intensity = min(rows * columns / (rows + columns), _LEAST_INTENSITY) / _LEAST_INTENSITY
    tall, wide = min(down * rows, extents[0]), min(across * columns, extents[1])
    shared = min(tall * wide / (tall + wide) / _LEAST_REUSE, 1.0) ** 0.5
    return useful * full * even * hidden * shared * (0.3 + 0.7 * intensity)


def tensor_tiles(
    group: TensorCoreGroup, sizes: tuple[int, int, int], repeats: int, target: Target
) -> TensorTiles | None:
    """Warps, tiles of each and steps for a product on tensor cores; None where they do not fit.

    The largest tile of a block is taken that gives every multiprocessor one.
    """
    limits = target.gpu or OPENCL_LIMITS
    warped = group.threads == limits.warp_size
    shapes = _WARP_SHAPES if warped else _WARPGROUP_SHAPES
    m, n, terms = sizes
    possible = [
        (rows, columns)
        for rows, columns in shapes
        if m % (prod(rows) * group.shape[0]) == 0 and n % (prod(columns) * group.shape[1]) == 0
    ]
    for rows, columns in possible:
        blocks = m // (prod(rows) * group.shape[0]) * (n // (prod(columns) * group.shape[1]))
        if blocks * repeats >= limits.multiprocessors:
            panel = next(p for p in _PANELS if m // (prod(rows) * group.shape[0]) % p == 0)
            steps = 2 if warped and terms % (2 * group.shape[2]) == 0 else 1
            return (panel, *rows), columns, steps, _STAGES
    smallest = warped or group.shape[1] == 64
    if not possible or not smallest:
        return None
    rows, columns = possible[-1]
    return (1, *rows), columns, 1, _STAGES


_STAGES: Final = 3
"""Iterations whose operands lie in shared memory: copies of two run while one is multiplied."""

_PANELS: Final = (8, 4, 2, 1)
"""Blocks below each other that run together, the best first."""

_WARP_SHAPES: Final = (
    ((2, 4), (2, 4)), ((2, 4), (2, 2)), ((2, 2), (2, 4)), ((2, 2), (2, 2)), ((2, 1), (2, 2)),
    ((2, 1), (2, 1)), ((1, 1), (2, 1)), ((1, 1), (1, 1)),
)  # fmt: skip
"""Warps and tiles of each along rows and columns, large tiles first."""

_WARPGROUP_SHAPES: Final = (((2, 1), (1, 1)), ((1, 1), (1, 1)))
