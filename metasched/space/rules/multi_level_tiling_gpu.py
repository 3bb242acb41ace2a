"""multi_level_tiling_gpu: reductions tiled over blocks, threads, shared memory and registers.

The structure is "SSSRRSRS": three levels of the spatial loops go to blocks, virtual threads and
threads; inside the first reduction level the threads fill shared memory together; the last levels
are one thread's register tile. Read `metasched.space.rules.multi_level_tiling` first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, final

from metasched.errors import ScheduleError, UsageError
from metasched.ir.stmt import Block
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.pipelining import note_stages
from metasched.space.rules.multi_level_tiling import TILED, why_no_reuse, why_not_tiled
from metasched.space.rules.rule import RULES, AbstractRule
from metasched.space.tiling import Tiled, Tiles, has_elementwise_reader, tile
from metasched.target import Target
from metasched.trace.instruction import Ref

FETCH: Final = "meta_schedule.cooperative_fetch"
"""Note on a copy to shared memory: elements that one thread loads at a time."""

PAD: Final = "meta_schedule.pad"
"""Note on a copy to shared memory: whether its rows are longer, to fall on different banks."""

_VECTOR_BYTES: Final = 16
_FIXED_STAGES: Final = 2


@final
@dataclass(frozen=True, slots=True)
class MultiLevelTilingGpu(AbstractRule):
    """Tile reductions with data reuse and bind the outer levels.

    Attributes:
        structure: the levels, outermost first.
        binds: the thread axes of the first levels.
        fetch_level: number of tile levels around the copies to shared memory.
        read_scope: where operands are copied to; none, and they are read where they are.
        write_scope: where sums are kept.
        vectors: elements of one load of a copy, to sample from, as far as they fit 16 bytes.
        stages: for how many iterations operands may lie in shared memory, to sample from.
        max_innermost_factor: longest innermost loop of spatial iterations.
        max_innermost_reduce: longest innermost loop of a reduction.
        pad_extents: as for `MultiLevelTiling`.
        fixed: the factors to use in place of sampled ones; they need not divide the extents. The
            longest load is taken then.
    """

    name: ClassVar[str] = "multi_level_tiling_gpu"
    structure: str = "SSSRRSRS"
    binds: tuple[str, ...] = ("blockIdx.x", "vthread.x", "threadIdx.x")
    fetch_level: int = 4
    read_scope: str | None = "shared"
    write_scope: str = "local"
    vectors: tuple[int, ...] = (1, 2, 4, 8, 16)
    stages: tuple[int, ...] = (1, 2, 3)
    max_innermost_factor: int = 16
    max_innermost_reduce: int = 64
    pad_extents: bool = True
    fixed: Callable[[State, Block, Target], Tiles] | None = None

    def __post_init__(self) -> None:
        if not self.structure.startswith("S" * len(self.binds)) or set(self.structure) - {"S", "R"}:
            raise UsageError(
                f"a tiling structure is a text of S and R with an S for each of the "
                f"{len(self.binds)} thread axes first, got '{self.structure}'"
            )

    def refusal(self, state: State, block: Block, target: Target) -> str | None:
        """Reductions without reuse, and blocks not bound to loops of their own, stay."""
        return why_not_tiled(state, block) or why_no_reuse(state, block, symbolic=False)

    def apply(self, schedule: Schedule, block: Ref, target: Target) -> list[Schedule]:
        """Tile, bind, keep sums in registers and operands in shared memory."""
        found = schedule.state.block(str(schedule.value(block)))
        tiles: Tiles = {} if self.fixed is None else self.fixed(schedule.state, found, target)
        schedule.annotate(block, TILED, self.structure)
        tiled = tile(
            schedule, block, self.structure, tiles=tiles, pad_extents=self.pad_extents,
            longest={"S": self.max_innermost_factor, "R": self.max_innermost_reduce},
        )  # fmt: skip
        threads = self._bind(tiled)
        self._write_back(tiled, threads)
        if self.read_scope is not None:
            for number in range(len(found.reads)):
                self._fetch(tiled, number)
            fixed = None if self.fixed is None else _FIXED_STAGES
            note_stages(schedule, block, self.stages, fixed)
        return [schedule]

    def _bind(self, tiled: Tiled) -> Ref:
        """Bind the first levels; the loop of the threads."""
        schedule = tiled.schedule
        bound: list[Ref] = []
        for loops, axis in zip(tiled.levels, self.binds, strict=False):
            if loops:
                bound.append(loops[0] if len(loops) == 1 else schedule.fuse(*loops))
                schedule.bind(bound[-1], axis)
        return bound[-1]

    def _write_back(self, tiled: Tiled, threads: Ref) -> None:
        """Let each thread store its tile once: by the elementwise reader, or by a copy."""
        schedule = tiled.schedule
        if has_elementwise_reader(schedule, tiled.block):
            back = schedule.get_consumers(tiled.block)[0]
            schedule.set_scope(tiled.block, 0, self.write_scope)
        else:
            back = schedule.cache_write(tiled.block, 0, self.write_scope)
        schedule.reverse_compute_at(back, threads, preserve_unit_loops=True)

    def _fetch(self, tiled: Tiled, number: int) -> None:
        """Copy the tile of an operand to shared memory; what cannot be copied is read in place."""
        assert self.read_scope is not None, "asked for"
        schedule = tiled.schedule
        attempt = tiled.branch()
        for one in (attempt, tiled):
            try:
                copy = one.schedule.cache_read(one.block, number, self.read_scope)
                level = one.last(self.fetch_level)
                one.schedule.compute_at(copy, level, preserve_unit_loops=True)
            except ScheduleError:
                return
        buffer = schedule.state.block(str(schedule.value(copy))).writes[0].buffer
        fitting = [v for v in self.vectors if v * buffer.dtype.bytes <= _VECTOR_BYTES] or [1]
        if self.fixed is not None:
            schedule.annotate(copy, FETCH, fitting[-1])
            schedule.annotate(copy, PAD, 1)
            return
        length = schedule.sample_categorical(fitting, [1.0 / len(fitting)] * len(fitting))
        schedule.annotate(copy, FETCH, length)
        schedule.annotate(copy, PAD, schedule.sample_categorical([0, 1], [0.5, 0.5]))


RULES.register(MultiLevelTilingGpu.name, MultiLevelTilingGpu)
