"""Tile sizes without search: a register tile that fits, panels that fit in cache, work per core.

The register tile maximises multiply-adds per load within the register file (Low et al.,
"Analytical Modeling Is Enough for High-Performance BLIS", ACM TOMS 2016). Factors need not divide
the extents.
"""

from __future__ import annotations

from math import ceil, prod

from metasched.ir.expr import Var, int_value
from metasched.ir.stmt import Block, For
from metasched.schedule.state import State
from metasched.space.packing import packings
from metasched.space.patterns import index_iters, iter_loops
from metasched.space.rules.multi_level_tiling import PackReads
from metasched.space.tensor_tiles import TensorTile
from metasched.space.tiling import Tiles
from metasched.target import Target

_SYMBOLIC = 1024
"""What an extent counts as while it is not known."""

_SYMBOLIC_PANEL = 8
_JOBS_PER_CORE = 4
_MOST_ROWS = 14
_SPARE_REGISTERS = 4
_MOST_VECTORS = 4
_PANEL_SHARE = 2 / 3
"""Of the first-level cache: a panel of one operand, read again for each strip of rows."""


def default_tiles(state: State, block: Block, target: Target) -> Tiles:
    """Factors for the levels of "SSRSRS" for every loop of a reduction with data reuse."""
    loops = iter_loops(state, block) or ()
    kinds = [it.kind for it in block.iters]
    spatial = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == "spatial"]
    reduced = [loop for loop, kind in zip(loops, kinds, strict=True) if kind != "spatial"]
    lanes = max(target.vector_bits // block.writes[0].buffer.dtype.bits, 1)
    vector = spatial[-1]
    row = row_loop(block, spatial)
    bound = {loop.var: it.var for loop, it in zip(loops, block.iters, strict=True)}
    columns, rows = _register_tile(
        _size(vector), 1 if row is None else _size(row), lanes, target.vector_registers
    )
    size = block.writes[0].buffer.dtype.bytes
    depth = max(int(_PANEL_SHARE * target.l1_bytes) // (columns * size), 1)
    tiles: dict[str, tuple[int | None, ...]] = {}
    for loop in reversed(reduced):
        inner = largest_divisor(_size(loop), depth)
        tiles[loop.var.name] = (None, inner)
        depth = max(depth // inner, 1)
    wanted, jobs = _JOBS_PER_CORE * target.cores, 1
    packed = packings(block, row_bytes=PackReads().row_bytes, least_reuse=PackReads().least_reuse)
    others = [loop for loop in spatial if loop is not vector and loop is not row]
    # Loops along which every operand moves come first: they share nothing, so they make jobs.
    for loop in sorted(others, key=lambda loop: _is_reused(block, bound[loop.var])):
        even = jobs >= target.cores and jobs % target.cores == 0
        if _is_reused(block, bound[loop.var]) and (even or jobs >= wanted):
            # A packed operand is read again along the loop while its tile is still there.
            tiles[loop.var.name] = (1, 1, None, 1) if packed else (1, None, 1, 1)
        else:
            tiles[loop.var.name] = (None, 1, 1, 1)
            jobs *= _size(loop)
    if row is not None:
        # One job's rows of an operand stay in cache while it runs through the columns.
        strip = prod(_size(loop) for loop in reduced) * rows * size
        most = max(target.l2_bytes // (2 * strip), 1)
        count = ceil(_size(row) / rows)
        across = ceil(_size(vector) / columns)
        if int_value(row.extent) is None:
            most = min(most, _SYMBOLIC_PANEL)
        panel = largest_divisor(count, min(most, max(count * jobs * across // wanted, 1)))
        tiles[row.var.name] = (None, 1, panel, rows)
        jobs *= count // panel
    tiles[vector.var.name] = (None, 1, 1, columns) if jobs < wanted else (1, None, 1, columns)
    return tiles


def _size(loop: For) -> int:
    return int_value(loop.extent) or _SYMBOLIC


def row_loop(block: Block, spatial: list[For]) -> For | None:
    """The largest spatial loop, besides the vectorised one, along which an operand is reused."""
    by_var = dict(zip([it.var for it in block.iters if it.kind == "spatial"], spatial, strict=True))
    vector = spatial[-1]
    reused = [
        loop
        for var, loop in by_var.items()
        if loop is not vector and _size(loop) > 1 and _is_reused(block, var)
    ]
    return max(reversed(reused), key=_size, default=None)


def _is_reused(block: Block, var: Var) -> bool:
    return any(var not in index_iters(block, region.buffer) for region in block.reads)


def _register_tile(width: int, height: int, lanes: int, registers: int) -> tuple[int, int]:
    """Columns and rows of the tile with the most multiply-adds per load, padding included."""
    best, found = -1.0, (min(width, lanes), 1)
    for vectors in range(1, _MOST_VECTORS + 1):
        columns = min(vectors * lanes, width)
        if vectors > 1 and columns <= (vectors - 1) * lanes:
            break
        for rows in range(1, min(_MOST_ROWS, height) + 1):
            if rows * vectors + vectors + 1 > registers - _SPARE_REGISTERS + 2:
                break
            useful = (
                width / (ceil(width / columns) * columns) * height / (ceil(height / rows) * rows)
            )
            # Whole tiles matter more than the last bit of reuse: partial ones run by elements.
            whole = 1.0 if height % rows == 0 and width % columns == 0 else 0.8
            score = useful * whole * min(rows * vectors / (rows + vectors), 3.0)
            if score > best:
                best, found = score, (columns, rows)
    return found


def largest_divisor(n: int, most: int) -> int:
    """The largest divisor of a number up to a limit."""
    return max(d for d in range(1, min(n, most) + 1) if n % d == 0)


def default_tensor_tiles(state: State, block: Block, tile: TensorTile, target: Target) -> Tiles:
    """Factors for the levels of "SSRSRS" around the tile of an intrinsic.

    Tiles along the lanes and along the longest other loop fill the registers with sums; what is
    left of the other loops makes jobs.
    """
    loops = iter_loops(state, block) or ()
    counts = {loop.var.name: _size(loop) // tile.sizes.get(loop.var.name, 1) for loop in loops}
    kinds = {loop.var.name: it.kind for loop, it in zip(loops, block.iters, strict=True)}
    spatial = [name for name, kind in kinds.items() if kind == "spatial"]
    across = [name for name in tile.sizes if kinds[name] == "spatial"][-1]
    others = [name for name in spatial if name != across]
    held = prod(n for name, n in tile.sizes.items() if kinds[name] == "spatial")
    vectors = max(held * block.writes[0].buffer.dtype.bits // target.vector_bits, 1)
    budget = max((target.vector_registers - _SPARE_REGISTERS) // vectors, 1)
    columns = largest_divisor(counts[across], min(_MOST_VECTORS - 1, budget))
    tiles: dict[str, tuple[int | None, ...]] = {
        name: (None, 1, 1, 1) if kinds[name] == "spatial" else (None, 1) for name in counts
    }
    tiles[across] = (None, 1, 1, columns)
    if others:
        rows = max(others, key=lambda name: counts[name])
        tiles[rows] = (None, 1, 1, largest_divisor(counts[rows], max(budget // columns, 1)))
    last = [name for name, kind in kinds.items() if kind != "spatial"][-1]
    tiles[last] = (1, None)
    return tiles
