"""Where an intrinsic fits a block: which loops its tile runs over, and what must be packed for it.

The answer is found by trying: the tile is split off, the reduction decomposed and the intrinsic put
in its place on a copy of the schedule. Read `rules/multi_level_tiling_with_intrin` next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

from metasched.errors import ScheduleError
from metasched.ir.dtype import DType
from metasched.ir.expr import Load, Var, int_value
from metasched.ir.stmt import Block, Store
from metasched.ir.walk import expr_loads, free_vars
from metasched.schedule.schedule import Schedule
from metasched.space.loop_choice import reducing_vars
from metasched.space.patterns import body_loads, index_iters, iter_loops
from metasched.target import Target
from metasched.target.intrinsics import TENSOR_INTRINS
from metasched.trace.instruction import Ref


@dataclass(frozen=True, slots=True)
class TensorTile:
    """How an intrinsic fits a block.

    Attributes:
        intrin: its name.
        sizes: size of the tile along a loop, by its name; in the order in which the loops of the
            tile stand, reductions first, so that the lanes of vectors are innermost.
        packed: index maps of the operands that must be packed, by number of the read region.
    """

    intrin: str
    sizes: Mapping[str, int]
    packed: Mapping[int, str]


def find_tile(
    schedule: Schedule, block: Ref, intrins: Sequence[str], target: Target
) -> TensorTile | None:
    """The first of some intrinsics that a target has and that fits a block, packing least.

    Args:
        schedule: it is not changed.
        block: a reduction, each variable bound to a loop of its own.
        intrins: names, the best first.
        target: the machine.
    """
    found = schedule.state.block(str(schedule.value(block)))
    loops = iter_loops(schedule.state, found)
    if loops is None:
        return None
    names = [loop.var.name for loop in loops]
    for intrin in intrins:
        if TENSOR_INTRINS[intrin].missing(target.features):
            continue
        pattern = TENSOR_INTRINS[intrin].pattern
        for assigned in _assignments(found, pattern):
            sizes = _sizes(pattern, assigned)
            for packed in _packings(found, pattern, assigned):
                tile = TensorTile(intrin, {names[k]: n for k, n in sizes.items()}, packed)
                if _fits(schedule.copy(), block, tile):
                    return tile
    return None


def pack(schedule: Schedule, block: Ref, tile: TensorTile, scope: str = "global") -> list[Ref]:
    """Let a block read packed copies of its operands; the copies, in nests of their own."""
    return [
        schedule.reindex_cache_read(block, number, scope, text)
        for number, text in tile.packed.items()
    ]


def _fits(schedule: Schedule, block: Ref, tile: TensorTile) -> bool:
    try:
        pack(schedule, block, tile)
        inner = [
            schedule.split(loop, (None, tile.sizes[name]))[1]
            for loop in schedule.get_loops(block)
            if (name := str(schedule.value(loop))) in tile.sizes
        ]
        held = {schedule.value(loop) for loop in inner}
        outer = [loop for loop in schedule.get_loops(block) if schedule.value(loop) not in held]
        schedule.reorder(*outer, *inner)
        reducing = reducing_vars(schedule.state.block(str(schedule.value(block))))
        loops = schedule.get_loops(block)
        first = next(
            loop for loop in loops if schedule.state.loop(str(schedule.value(loop))).var in reducing
        )
        schedule.decompose_reduction(block, first)
        schedule.tensorize(inner[0], tile.intrin)
    except ScheduleError:
        return False
    return True


Assignment = Mapping[Var, int]
"""The position of the iteration of a block that an iteration of a pattern stands for."""


def _assignments(block: Block, pattern: Block) -> Iterator[Assignment]:
    """Ways to lay the tile over the iterations; last ones first, since there memory is dense."""
    wanted = {
        kind: [it for it in pattern.iters if it.kind == kind] for kind in ("spatial", "reduce")
    }
    own = {
        kind: [k for k, it in enumerate(block.iters) if it.kind == kind]
        for kind in ("spatial", "reduce")
    }
    for spatial in permutations(own["spatial"][::-1], len(wanted["spatial"])):
        for reduced in permutations(own["reduce"][::-1], len(wanted["reduce"])):
            pairs = zip(
                (*wanted["spatial"][::-1], *wanted["reduce"][::-1]),
                (*spatial, *reduced),
                strict=True,
            )
            assigned = {it.var: k for it, k in pairs}
            if _divides(block, pattern, assigned) and _same_roles(block, pattern, assigned):
                yield assigned


def _divides(block: Block, pattern: Block, assigned: Assignment) -> bool:
    sizes = _sizes(pattern, assigned)
    extents = {k: int_value(block.iters[k].extent) for k in sizes}
    return all(n is not None and n % sizes[k] == 0 for k, n in extents.items())


def _sizes(pattern: Block, assigned: Assignment) -> dict[int, int]:
    """Sizes of the tile by position, reductions first."""
    ordered = sorted(pattern.iters, key=lambda it: it.kind == "spatial")
    return {assigned[it.var]: int_value(it.extent) or 1 for it in ordered}


def _same_roles(block: Block, pattern: Block, assigned: Assignment) -> bool:
    """Whether operands have the types and move along the tile as those of the pattern do."""
    own = {it.var: k for k, it in enumerate(block.iters)}
    tile = set(assigned.values())
    return _roles(pattern, {v: k for v, k in assigned.items()}, tile) == _roles(block, own, tile)


def _roles(
    block: Block, position: Mapping[Var, int], tile: set[int]
) -> Counter[tuple[DType, frozenset[int]]] | None:
    if not isinstance(block.body, Store):
        return None
    return Counter(
        (load.buffer.dtype, frozenset(position[v] for v in _vars(load) if v in position) & tile)
        for load in expr_loads(block.body.value)
    )


def _vars(load: Load) -> set[Var]:
    return {v for index in load.indices for v in free_vars(index)}


def _packings(block: Block, pattern: Block, assigned: Assignment) -> Iterator[dict[int, str]]:
    """Index maps for no operand, for one, for two and so on."""
    numbers = [
        number
        for number, region in enumerate(block.reads)
        if index_iters(block, region.buffer) & {block.iters[k].var for k in assigned.values()}
    ]
    for count in range(len(numbers) + 1):
        for chosen in combinations(numbers, count):
            maps = {number: _index_map(block, pattern, assigned, number) for number in chosen}
            if all(maps.values()):
                yield {number: text for number, text in maps.items() if text}


def _index_map(block: Block, pattern: Block, assigned: Assignment, number: int) -> str | None:
    """Tiles one after the other, each laid out as the pattern has it; None where none is like it.

    Tiles of a sum follow each other, so that the loop over them runs through memory.
    """
    buffer = block.reads[number].buffer
    used = index_iters(block, buffer)
    positions = [k for k, it in enumerate(block.iters) if it.var in used]
    inside = _tile_order(pattern, assigned, {k for k in positions}, buffer.dtype)
    if inside is None or len(set(body_loads(block, buffer))) != 1:
        return None
    sizes = _sizes(pattern, assigned)
    outer = [k for k in positions if block.iters[k].kind == "spatial"]
    outer += [k for k in positions if block.iters[k].kind != "spatial"]
    indices = [f"v{k} // {sizes[k]}" if k in sizes else f"v{k}" for k in outer]
    indices += [f"v{k} % {sizes[k]}" for k in inside]
    given = ", ".join(f"v{k}" for k in range(len(block.iters)))
    return f"{given} -> [{', '.join(indices)}]"


def _tile_order(
    pattern: Block, assigned: Assignment, used: set[int], dtype: DType
) -> list[int] | None:
    """Positions that index the pattern's operand of a type and role, outermost first."""
    assert isinstance(pattern.body, Store)
    wanted = used & set(assigned.values())
    for load in expr_loads(pattern.body.value):
        order = [assigned[i] for i in load.indices if isinstance(i, Var)]
        if load.buffer.dtype == dtype and set(order) == wanted and len(order) == len(load.indices):
            return order
    return None
