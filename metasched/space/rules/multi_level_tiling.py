"""multi_level_tiling: nested tiles for reductions that read their operands more than once.

The loops of a block are split and interleaved by a structure such as "SSRSRS" (S: one level of
the spatial loops, R: one of the reduction loops), so that operands stay in caches and sums in
registers. Variants place the write-back and pack operands; read `metasched.space.packing` too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, final

from metasched.errors import ScheduleError, UsageError
from metasched.ir.expr import int_value
from metasched.ir.stmt import Block, annotation
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.packing import Packing, packings
from metasched.space.patterns import has_reuse, is_root, iter_loops
from metasched.space.rules.rule import RULES, AbstractRule
from metasched.space.tiling import Tiled, Tiles, has_elementwise_reader, tile
from metasched.target import Target
from metasched.trace.instruction import Ref

TILED: Final = "meta_schedule.tiling_structure"
Request = Literal["no", "may", "must"]


@dataclass(frozen=True, slots=True)
class WriteReuse:
    """Where the write-back of a tile may stand.

    Attributes:
        req: "no", "may" (with and without) or "must" (where it is legal).
        levels: numbers of tile levels, counted from the outermost, that enclose it.
        scope: memory scope of the accumulator.
    """

    req: Request = "may"
    levels: tuple[int, ...] = (1, 2)
    scope: str = "global"


@dataclass(frozen=True, slots=True)
class PackReads:
    """When and where operands are packed.

    Attributes:
        req: "no", "may" or "must" (where it is legal).
        level: number of tile levels around the copy. Inside the first reduction level the packed
            tile is smallest; further out it would be copied as often and take more room.
        row_bytes: rows at least this far apart are packed although they are contiguous.
        least_reuse: least number of times that a packed element is read.
    """

    req: Request = "may"
    level: int = 3
    row_bytes: int = 1024
    least_reuse: int = 16


@final
@dataclass(frozen=True, slots=True)
class MultiLevelTiling(AbstractRule):
    """Tile reductions with data reuse.

    Attributes:
        structure: the levels, outermost first.
        max_innermost_factor: longest innermost loop of spatial iterations.
        max_innermost_reduce: longest innermost loop of a reduction; longer than those of space,
            since a register tile is loaded and stored once per run of it.
        reuse_write: variants of the write-back.
        pack_reads: variants of packed operands.
        pad_extents: sample the tiles of loops that no short tile divides, such as 109, from the
            next multiple of 8; the surplus iterations are guarded.
        fixed: the factors to use in place of sampled ones; they need not divide the extents.
    """

    name: ClassVar[str] = "multi_level_tiling"
    structure: str = "SSRSRS"
    max_innermost_factor: int = 64
    max_innermost_reduce: int = 256
    reuse_write: WriteReuse = WriteReuse()
    pack_reads: PackReads = PackReads()
    pad_extents: bool = True
    fixed: Callable[[State, Block, Target], Tiles] | None = None

    def __post_init__(self) -> None:
        if not self.structure or set(self.structure) - {"S", "R"}:
            raise UsageError(
                f"a tiling structure is a text of S and R such as 'SSRSRS', got '{self.structure}'"
            )
        outside = len(self.structure) - len(self.structure.lstrip("S"))
        self._check_levels("the write-back", self.reuse_write.req, self.reuse_write.levels, outside)
        self._check_levels(
            "packing", self.pack_reads.req, (self.pack_reads.level,), len(self.structure)
        )

    def _check_levels(self, what: str, req: str, levels: tuple[int, ...], most: int) -> None:
        if req != "no" and any(not 1 <= level <= most for level in levels):
            raise UsageError(
                f"{what} may stand at levels 1 to {most} of '{self.structure}', got {levels}"
            )

    def refusal(self, state: State, block: Block, target: Target) -> str | None:
        """Reductions without reuse, and blocks not bound to loops of their own, stay."""
        return why_not_tiled(state, block) or why_no_reuse(
            state, block, symbolic=self.fixed is not None
        )

    def apply(self, schedule: Schedule, block: Ref, target: Target) -> list[Schedule]:
        """Tile, then branch over the write-back and over packing."""
        found = schedule.state.block(str(schedule.value(block)))
        operands = packings(
            found, row_bytes=self.pack_reads.row_bytes, least_reuse=self.pack_reads.least_reuse
        )
        tiles: Tiles = {} if self.fixed is None else self.fixed(schedule.state, found, target)
        schedule.annotate(block, TILED, self.structure)
        tiled = tile(
            schedule, block, self.structure, tiles=tiles, pad_extents=self.pad_extents,
            longest={"S": self.max_innermost_factor, "R": self.max_innermost_reduce},
        )  # fmt: skip
        return [
            packed.schedule
            for written in with_write_reuse(tiled, self.reuse_write)
            for packed in self._with_packed_reads(written, operands)
        ]

    def _with_packed_reads(self, tiled: Tiled, operands: tuple[Packing, ...]) -> list[Tiled]:
        req = self.pack_reads.req
        if req == "no" or not operands:
            return [tiled]
        packed = self._packed(tiled.branch(), operands)
        if packed is None:
            return [tiled]
        return [packed] if req == "must" else [tiled, packed]

    def _packed(self, tiled: Tiled, operands: tuple[Packing, ...]) -> Tiled | None:
        schedule, level = tiled.schedule, tiled.last(self.pack_reads.level)
        try:
            for operand in operands:
                copy = schedule.reindex_cache_read(
                    tiled.block, operand.read, self.reuse_write.scope, operand.order
                )
                schedule.compute_at(copy, level, preserve_unit_loops=True)
        except ScheduleError:
            return None
        return tiled


def with_write_reuse(tiled: Tiled, reuse: WriteReuse) -> list[Tiled]:
    """The variants of a tiled draft that a request for a write-back calls for."""
    if reuse.req == "no":
        return [tiled]
    found = [_write_back(tiled.branch(), level, reuse.scope) for level in reuse.levels]
    moved = [variant for variant in found if variant is not None]
    return moved if reuse.req == "must" and moved else [tiled, *moved]


def _write_back(tiled: Tiled, level: int, scope: str) -> Tiled | None:
    """Move the elementwise reader of the tile, or a copy of it, to a tile level."""
    schedule = tiled.schedule
    try:
        if has_elementwise_reader(schedule, tiled.block):
            back = schedule.get_consumers(tiled.block)[0]
        else:
            back = schedule.cache_write(tiled.block, 0, scope)
        schedule.reverse_compute_at(back, tiled.last(level), preserve_unit_loops=True)
    except ScheduleError:
        return None
    return tiled


def why_not_tiled(state: State, block: Block) -> str | None:
    """Why no rule that tiles takes a block, or None."""
    if is_root(state, block):
        return "the root block"
    if annotation(block.annotations, TILED) is not None:
        return "tiled already"
    return None


def why_no_reuse(state: State, block: Block, *, symbolic: bool) -> str | None:
    """Why a block is no reduction whose tiles use data again, or None.

    Args:
        state: where the block is.
        block: the block.
        symbolic: whether extents may be symbolic.
    """
    if not has_reuse(block):
        return "no reduction with data reuse"
    loops = iter_loops(state, block)
    if loops is None:
        return "its variables are not bound to loops of their own"
    if not symbolic and any(int_value(loop.extent) is None for loop in loops):
        return "a loop has a symbolic extent"
    return None


RULES.register(MultiLevelTiling.name, MultiLevelTiling)
