"""multi_level_tiling_tensor_core: products of matrices tiled for a group of intrinsics.

Warps (or groups of four) side by side in a block each hold some tiles of sums in registers. Inside
the first level of the reduction all threads copy operands to shared memory; from there they go to
registers where the group loads them. `rewrite_tensor_core` puts the intrinsics in their places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias, final

from metasched.analysis.kernels import GROUP_THREADS
from metasched.errors import ScheduleError
from metasched.ir.expr import Load, Var, int_value
from metasched.ir.stmt import Block
from metasched.ir.walk import expr_loads, free_vars
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.patterns import iter_loops, iters_of, single_store
from metasched.space.pipelining import note_stages
from metasched.space.rules.multi_level_tiling import TILED, why_not_tiled
from metasched.space.rules.multi_level_tiling_gpu import FETCH
from metasched.space.rules.rule import RULES, AbstractRule
from metasched.target import Target
from metasched.target.intrinsics import GROUPS, TensorCoreGroup
from metasched.trace.instruction import Ref

GROUP: Final = "meta_schedule.tensor_core"
"""Note on a product: the group of intrinsics that computes it."""

MOVE: Final = "meta_schedule.tensor_core_copy"
"""Note on a copy between registers and memory: the intrinsic that does it."""

_VECTOR_BYTES: Final = 16
_WARP: Final = 32

TensorTiles: TypeAlias = tuple[tuple[int, int, int], tuple[int, int], int, int]
"""Blocks of a panel, warps and tiles of each along the rows; warps and tiles along the columns;
steps of an iteration; stages."""

FixedTiles: TypeAlias = Callable[
    [TensorCoreGroup, tuple[int, int, int], int, Target], TensorTiles | None
]
"""From a group, rows, columns and terms, and how many products there are; None to leave it out."""


@final
@dataclass(frozen=True, slots=True)
class MultiLevelTilingTensorCore(AbstractRule):
    """Offer products on tensor cores, beside the plain ones.

    Attributes:
        groups: names of the groups that come into question; none, and it is all that lose nothing.
        most_groups: how many of those that fit are offered, the fastest first.
        max_tiles: most tiles of sums that a warp holds along the rows or the columns.
        max_steps: most terms between two barriers, in tiles of a warp; groups of warps take one.
        stages: for how many iterations operands may lie in shared memory, to sample from.
        keep_plain: offer the block untouched, too, for rules that come later.
        fixed: warps, tiles and steps to use in place of sampled ones.
    """

    name: ClassVar[str] = "multi_level_tiling_tensor_core"
    groups: tuple[str, ...] = ()
    most_groups: int = 4
    max_tiles: int = 8
    max_steps: int = 4
    stages: tuple[int, ...] = (1, 2, 3, 4)
    keep_plain: bool = False
    fixed: FixedTiles | None = None

    def refusal(self, state: State, block: Block, target: Target) -> str | None:
        """Only products of matrices in whole tiles, of types that the target multiplies."""
        if (reason := why_not_tiled(state, block)) is not None:
            return reason
        if iter_loops(state, block) is None:
            return "its variables are not bound to loops of their own"
        found = matrices(block)
        if found is None:
            return "no product of two matrices"
        if not self.fitting(found, target):
            return "no tensor core takes its types and sizes"
        return None

    def fitting(self, found: Matrices, target: Target) -> list[TensorCoreGroup]:
        """The groups for a product, the fastest and largest first."""
        known = [GROUPS[name] for name in self.groups or GROUPS]
        possible = [
            group
            for group in known
            if found.fits(group)
            and set(group.features) <= set(target.features)
            and (self.groups or not group.rounds)
        ]
        possible.sort(key=lambda g: (-g.speed, -g.shape[1]))
        return possible[: self.most_groups]

    def apply(self, schedule: Schedule, block: Ref, target: Target) -> list[Schedule]:
        """One schedule for each group, and maybe the plain one."""
        found = matrices(schedule.state.block(str(schedule.value(block))))
        assert found is not None, "asked before"
        made: list[Schedule] = []
        for group in self.fitting(found, target):
            draft = schedule.copy()
            fixed = None
            if self.fixed is not None:
                fixed = self.fixed(group, found.sizes, found.repeats, target)
                if fixed is None:
                    continue
            try:
                self._tile(draft, block, found, group, fixed)
            except ScheduleError:
                continue
            made.append(draft)
        return [*made, schedule] if self.keep_plain or not made else made

    def _tile(
        self,
        schedule: Schedule,
        block: Ref,
        found: Matrices,
        group: TensorCoreGroup,
        fixed: TensorTiles | None,
    ) -> None:
        schedule.annotate(block, TILED, group.name)
        schedule.annotate(block, GROUP, group.name)
        schedule.annotate(block, GROUP_THREADS, group.threads)
        result = schedule.cache_write(block, 0, "wmma.accumulator")
        loops = schedule.get_loops(block)
        batch = [loops[k] for k in found.batch]
        rows, columns = (None, None) if fixed is None else fixed[:2]
        # Blocks that run together form panels of some rows, so that they share what caches hold.
        i0, panel, i1, i2, i3 = self._levels(schedule, loops[found.i], group, 0, rows)
        j0, j1, j2, j3 = self._levels(schedule, loops[found.j], group, 1, columns)
        k, k2 = schedule.split(loops[found.k], (None, group.shape[2]))
        steps = (
            schedule.sample_perfect_tile(k, 2, self.max_steps if _is_warp(group) else 1)
            if fixed is None
            else (None, fixed[2])
        )
        k0, k1 = schedule.split(k, steps)
        schedule.reorder(*batch, i0, j0, panel, i1, j1, k0, k1, i2, j2, i3, j3, k2)
        schedule.bind(schedule.fuse(*batch, i0, j0, panel), "blockIdx.x")
        warps = schedule.fuse(i1, j1)
        schedule.bind(warps, "threadIdx.y")
        schedule.reverse_compute_at(result, warps, preserve_unit_loops=True)
        schedule.annotate(result, MOVE, group.store)
        for number, operand in ((found.a, group.a), (found.b, group.b)):
            copy = schedule.cache_read(block, number, "shared")
            if operand.load is not None:
                fragment = schedule.cache_read(block, number, operand.scope)
                schedule.compute_at(fragment, k1, preserve_unit_loops=True)
                schedule.annotate(fragment, MOVE, operand.load)
            for layout in operand.layouts[:1]:
                schedule.transform_layout(block, ("read", number), _batched(layout, len(batch)))
                schedule.transform_block_layout(copy, _batched(layout, len(batch)))
            schedule.compute_at(copy, k0, preserve_unit_loops=True)
            if operand.order:
                own = schedule.get_loops(copy)[-len(operand.order) :]
                schedule.reorder(*(own[axis] for axis in operand.order))
            for layout in operand.layouts[1:]:
                schedule.transform_layout(block, ("read", number), _batched(layout, len(batch)))
            if operand.pad:
                schedule.storage_align(copy, 0, -2, 2 * operand.pad, operand.pad)
            buffer = schedule.state.block(str(schedule.value(copy))).writes[0].buffer
            schedule.annotate(copy, FETCH, _VECTOR_BYTES // buffer.dtype.bytes)
            schedule.annotate(copy, GROUP_THREADS, group.threads)
        note_stages(schedule, block, self.stages, None if fixed is None else fixed[3])

    def _levels(
        self,
        schedule: Schedule,
        loop: Ref,
        group: TensorCoreGroup,
        side: int,
        fixed: tuple[int, ...] | None,
    ) -> tuple[Ref, ...]:
        """Blocks (of a panel too along the rows), warps, tiles of a warp, and what is in a tile."""
        outer, inner = schedule.split(loop, (None, group.shape[side]))
        most = self.max_tiles if _is_warp(group) else 2
        parts = 4 if side == 0 else 3
        factors = (
            schedule.sample_perfect_tile(outer, parts, most) if fixed is None else (None, *fixed)
        )
        return (*schedule.split(outer, factors), inner)


def _is_warp(group: TensorCoreGroup) -> bool:
    return group.threads == _WARP


@dataclass(frozen=True, slots=True)
class Matrices:
    """A product of matrices: what plays which part.

    Attributes:
        i: number of the iteration along the rows.
        j: along the columns.
        k: along the reduction.
        batch: the others.
        sizes: rows, columns and terms.
        repeats: how many products there are.
        a: number of the first operand among the reads.
        b: of the second one.
        order: how the second one lies in memory.
        dtypes: of the operands and of the sums.
    """

    i: int
    j: int
    k: int
    batch: tuple[int, ...]
    sizes: tuple[int, int, int]
    repeats: int
    a: int
    b: int
    order: str
    dtypes: tuple[str, str]

    def fits(self, group: TensorCoreGroup) -> bool:
        """Whether a group multiplies it, in whole tiles."""
        whole = all(size % part == 0 for size, part in zip(self.sizes, group.shape, strict=True))
        return whole and (self.order, self.dtypes) == (group.order, group.dtypes)


def matrices(block: Block) -> Matrices | None:
    """The parts of a product of matrices, batches of them included; None for anything else."""
    store = single_store(block)
    spatial, reduced = iters_of(block, "spatial"), iters_of(block, "reduce")
    if store is None or len(spatial) < 2 or len(reduced) != 1 or len(block.reads) != 2:
        return None
    i, j, k = spatial[-2], spatial[-1], reduced[0]
    if tuple(store.indices) != tuple(it.var for it in spatial):
        return None
    sizes = tuple(int_value(it.extent) for it in (i, j, k))
    repeats = [int_value(it.extent) for it in spatial[:-2]]
    read = {x.buffer: x for x in expr_loads(store.value) if x.buffer != store.buffer}
    loads = [read.get(region.buffer) for region in block.reads]
    if None in sizes or None in repeats or None in loads:
        return None
    ends = [_end(x, {i.var, j.var, k.var}) for x in loads if x is not None]
    first = (i.var, k.var)
    seconds = {(k.var, j.var): "kn", (j.var, k.var): "nk"}
    if first not in ends:
        return None
    a = ends.index(first)
    order = seconds.get(ends[1 - a] or first)
    if order is None or loads[a] is None:
        return None
    count = 1
    for extent in repeats:
        count *= extent or 1
    m, n, terms = (size or 1 for size in sizes)
    position = {it.var: number for number, it in enumerate(block.iters)}
    dtype = next(str(x.buffer.dtype) for x in loads if x is not None)
    return Matrices(
        position[i.var], position[j.var], position[k.var],
        tuple(position[it.var] for it in spatial[:-2]), (m, n, terms), count,
        a, 1 - a, order, (dtype, str(store.buffer.dtype)),
    )  # fmt: skip


def _end(load: Load, moving: set[Var]) -> tuple[Var, Var] | None:
    """The two last indices of a load, if they are variables and the others do not move."""
    if len(load.indices) < 2:
        return None
    *outer, x, y = load.indices
    if not isinstance(x, Var) or not isinstance(y, Var):
        return None
    return None if any(free_vars(index) & moving for index in outer) else (x, y)


def _batched(layout: str, count: int) -> str:
    """An index map that leaves some indices in front as they are."""
    if not count:
        return layout
    names = ", ".join(f"n{k}" for k in range(count))
    given, made = layout.split(" -> ")
    return f"{names}, {given} -> [{names}, {made[1:]}"


RULES.register(MultiLevelTilingTensorCore.name, MultiLevelTilingTensorCore)
