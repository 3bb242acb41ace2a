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
from metasched.space.patterns import index_iters, iter_loops
from metasched.space.rules.multi_level_tiling import Tiles
from metasched.target import Target

_SYMBOLIC = 1024
"""What an extent counts as while it is not known."""

_MOST_ROWS = 14
_SPARE_REGISTERS = 4
_MOST_VECTORS = 4


def default_tiles(state: State, block: Block, target: Target) -> Tiles:
    """Factors for the levels of "SSRSRS" for every loop of a reduction with data reuse."""
    loops = iter_loops(state, block) or ()
    kinds = [it.kind for it in block.iters]
    spatial = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == "spatial"]
    reduced = [loop for loop, kind in zip(loops, kinds, strict=True) if kind != "spatial"]
    lanes = max(target.vector_bits // block.writes[0].buffer.dtype.bits, 1)
    vector = spatial[-1]
    row = _row_loop(block, spatial)
    columns, rows = _register_tile(
        _size(vector), 1 if row is None else _size(row), lanes, target.vector_registers
    )
    depth = max(target.l1_bytes // (2 * columns * block.writes[0].buffer.dtype.bytes), 1)
    tiles: dict[str, tuple[int | None, ...]] = {}
    for loop in spatial:
        if loop is vector:
            tiles[loop.var.name] = (1, None, 1, columns)
        elif loop is row:
            tiles[loop.var.name] = (None, 1, _panel_rows(loop, rows, spatial, target), rows)
        else:
            tiles[loop.var.name] = (None, 1, 1, 1)
    for loop in reversed(reduced):
        inner = _inner_depth(_size(loop), depth)
        tiles[loop.var.name] = (None, inner)
        depth = max(depth // inner, 1)
    return tiles


def _size(loop: For) -> int:
    return int_value(loop.extent) or _SYMBOLIC


def _row_loop(block: Block, spatial: list[For]) -> For | None:
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


def _panel_rows(loop: For, rows: int, spatial: list[For], target: Target) -> int:
    """Register tiles of rows that one job runs through, so that there are jobs for all cores."""
    others = prod(_size(other) for other in spatial[:-1] if other is not loop)
    if others >= 4 * target.cores:
        return 1
    tiles = ceil(_size(loop) / rows)
    wanted = min(tiles, ceil(4 * target.cores / others))
    exact = [n for n in range(1, tiles + 1) if tiles % n == 0 and tiles // n >= wanted]
    return max(exact, default=1)


def _inner_depth(extent: int, depth: int) -> int:
    """The largest divisor of a reduction that the panel has room for."""
    return max(d for d in range(1, min(extent, depth) + 1) if extent % d == 0)
