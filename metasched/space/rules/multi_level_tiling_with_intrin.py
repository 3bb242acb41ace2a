"""multi_level_tiling_with_intrin: nested tiles around tiles that an intrinsic computes.

The tile of the intrinsic is split off inside; what is outside is tiled as by `multi_level_tiling`.
`rewrite_tensorize` puts the intrinsic in its place once the decisions are taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, final

from metasched.errors import ScheduleError
from metasched.ir.stmt import Block
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.postprocs.rewrite_tensorize import TENSORIZE
from metasched.space.rules.multi_level_tiling import (
    TILED,
    MultiLevelTiling,
    WriteReuse,
    with_write_reuse,
)
from metasched.space.rules.rule import RULES, AbstractRule
from metasched.space.tensor_tiles import TensorTile, find_tile, pack
from metasched.space.tiling import Tiled, Tiles, has_elementwise_reader, tile
from metasched.target import Target
from metasched.target.intrinsics import TENSOR_INTRINS
from metasched.trace.instruction import Ref

NO_WRITE_BACK: Final = WriteReuse("no")
READER: Final = WriteReuse("may", (2,))


@final
@dataclass(frozen=True, slots=True)
class MultiLevelTilingWithIntrin(AbstractRule):
    """Offer tensorized tiles for reductions that compute what an intrinsic does.

    Attributes:
        intrins: names of intrinsics, the best first; the first that the target has and that fits
            is taken.
        structure: the levels around the tile, outermost first.
        max_innermost_factor: most tiles along a spatial loop in the innermost level.
        max_innermost_reduce: most tiles along a reduction in the innermost level.
        reuse_write: variants of the write-back, where no elementwise stage reads the result; such a
            stage is offered apart and moved into the tiles.
        pack_levels: numbers of tile levels around the copies of operands that must be packed; 0
            packs the whole operand first.
        keep_plain: offer the block untouched, too, for rules that come later.
        fixed: the factors of the levels to use in place of sampled ones.
    """

    name: ClassVar[str] = "multi_level_tiling_with_intrin"
    intrins: tuple[str, ...]
    structure: str = "SSRSRS"
    max_innermost_factor: int = 16
    max_innermost_reduce: int = 256
    reuse_write: WriteReuse = NO_WRITE_BACK
    pack_levels: tuple[int, ...] = (0, 3)
    keep_plain: bool = True
    fixed: Callable[[State, Block, TensorTile, Target], Tiles] | None = None

    def refusal(self, state: State, block: Block, target: Target) -> str | None:
        """As for plain tiles; whether an intrinsic fits is found out in `apply`."""
        reason = MultiLevelTiling(structure=self.structure).refusal(state, block, target)
        if reason is None and not any(
            not TENSOR_INTRINS[name].missing(target.features) for name in self.intrins
        ):
            reason = "the target has none of the intrinsics"
        return reason

    def apply(self, schedule: Schedule, block: Ref, target: Target) -> list[Schedule]:
        """Tile around the intrinsic, then branch over the write-back and over packing."""
        found = find_tile(schedule, block, self.intrins, target)
        if found is None:
            raise ScheduleError("no intrinsic of the target computes what it does")
        plain = [schedule.copy()] if self.keep_plain else []
        at = schedule.state.block(str(schedule.value(block)))
        tiles: Tiles = {} if self.fixed is None else self.fixed(schedule.state, at, found, target)
        levels = self.pack_levels if found.packed else (0,)
        drafts = [
            variant.schedule
            for level in levels
            for variant in self._tiled(schedule.copy(), block, found, level, tiles)
        ]
        return [*plain, *drafts]

    def _tiled(
        self, schedule: Schedule, block: Ref, found: TensorTile, level: int, tiles: Tiles
    ) -> list[Tiled]:
        """The tiled drafts with operands packed at a level; none where they cannot be."""
        schedule.annotate(block, TILED, self.structure)
        copies = pack(schedule, block, found)
        tiled = tile(
            schedule, block, self.structure, tiles=tiles, pad_extents=False, inside=found.sizes,
            longest={"S": self.max_innermost_factor, "R": self.max_innermost_reduce},
        )  # fmt: skip
        schedule.annotate(tiled.inside[0], TENSORIZE, found.intrin)
        try:
            for copy in copies:
                if level:
                    schedule.compute_at(copy, tiled.last(level), preserve_unit_loops=True)
                else:
                    schedule.annotate(copy, TILED, "packed")
        except ScheduleError:
            return []
        reads = has_elementwise_reader(schedule, block)
        return with_write_reuse(tiled, READER if reads else self.reuse_write)


RULES.register(MultiLevelTilingWithIntrin.name, MultiLevelTilingWithIntrin)
