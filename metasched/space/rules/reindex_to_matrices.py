"""reindex_to_matrices: products of other forms, such as convolutions, as products of matrices.

Operands and result get caches that the block indexes by its own iterations; those that only one
operand uses become rows and columns, the sums become the terms (im2col, of which only the tiles in
shared memory are ever made). Sizes are rounded up to whole tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, final

from metasched.ir.expr import Binary, Cast, Expr, Load, int_value
from metasched.ir.stmt import Block
from metasched.ir.walk import free_vars
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.patterns import (
    body_loads,
    has_condition,
    has_reuse,
    index_iters,
    iter_loops,
    iters_of,
    producers,
    single_store,
)
from metasched.space.rules.auto_inline import KEEP
from metasched.space.rules.multi_level_tiling import why_not_tiled
from metasched.space.rules.multi_level_tiling_tensor_core import (
    MultiLevelTilingTensorCore,
    matrices,
)
from metasched.space.rules.rule import RULES, AbstractRule
from metasched.target import Target
from metasched.trace.instruction import Ref

_TILE: Final = 16


@final
@dataclass(frozen=True, slots=True)
class ReindexToMatrices(AbstractRule):
    """Bring a product into the form that tensor cores take, where some take its types.

    Attributes:
        most_padding: a product is left alone if rounding up makes it so many times larger.
    """

    name: ClassVar[str] = "reindex_to_matrices"
    most_padding: float = 1.5

    def refusal(self, state: State, block: Block, target: Target) -> str | None:
        """Products of two operands that are no matrices yet."""
        if (reason := why_not_tiled(state, block)) is not None:
            return reason
        if not has_reuse(block) or iter_loops(state, block) is None:
            return "no reduction with data reuse in a nest of its own"
        if matrices(block) is not None:
            return "a product of matrices already"
        if not _is_product(block) or _parts(block) is None:
            return "no product of two operands with rows and columns of their own"
        return None

    def apply(self, schedule: Schedule, block: Ref, target: Target) -> list[Schedule]:
        """The product of matrices, if a group of intrinsics fits it; else the schedule as it is."""
        draft = schedule.copy()
        self._reindex(draft, block)
        found = matrices(draft.state.block(str(draft.value(block))))
        if found is None or not MultiLevelTilingTensorCore().fitting(found, target):
            return [schedule]
        return [draft]

    def _reindex(self, schedule: Schedule, block: Ref) -> None:
        found = schedule.state.block(str(schedule.value(block)))
        parts = _parts(found)
        assert parts is not None, "asked before"
        first, groups = parts
        kept = [b.name for b in producers(schedule.state, found) if has_condition(b)]
        schedule.reorder_block_iter_var(block, [k for group in groups for k in group])
        for name in kept:
            # Guards in a copy would keep it from moving several elements at a time.
            schedule.annotate(schedule.get_block(name), KEEP, 1)
        sizes = [[_extent(found, k) for k in group] for group in groups]
        batch = len(sizes[0])
        rows, columns, terms = sizes[1:]
        sides = (rows, columns) if first == 0 else (columns, rows)
        across = _runs_along_columns(found, 1 - first, groups[2])
        for number, side in enumerate(sides):
            copy = schedule.reindex(block, ("read", number))
            layouts = _fusions(batch, (side, terms))
            if number != first and across:
                layouts.append(_swapped(batch))
            for layout in layouts:
                schedule.transform_layout(block, ("read", number), layout)
                schedule.transform_block_layout(copy, layout)
        schedule.reindex(block, ("write", 0))
        for layout in _fusions(batch, (rows, columns)):
            schedule.transform_layout(block, ("write", 0), layout)
        for layout in _fusions(batch, (rows, columns, terms)):
            schedule.transform_block_layout(block, layout)
        schedule.pad_einsum(block, [*(1,) * batch, _TILE, _TILE, _TILE])


def _is_product(block: Block) -> bool:
    """Whether a block adds products of two values, converted or not."""
    store = single_store(block)
    if store is None or not isinstance(store.value, Binary) or store.value.op != "add":
        return False
    terms = [e for e in (store.value.a, store.value.b) if isinstance(e, Binary) and e.op == "mul"]
    return len(terms) == 1 and all(_is_load(e) for e in (terms[0].a, terms[0].b))


def _is_load(expr: Expr) -> bool:
    return isinstance(expr.value if isinstance(expr, Cast) else expr, Load)


def _parts(block: Block) -> tuple[int, tuple[list[int], ...]] | None:
    """The read of the rows, and the numbers of batch, row, column and term iterations."""
    if len(block.reads) != 2 or any(int_value(it.extent) is None for it in block.iters):
        return None
    used = [index_iters(block, region.buffer) for region in block.reads]
    number = {it.var: k for k, it in enumerate(block.iters)}
    spatial = [it.var for it in iters_of(block, "spatial")]
    reduced = [it.var for it in iters_of(block, "reduce")]
    alone = [
        [v for v in spatial if v in mine and v not in other]
        for mine, other in ((used[0], used[1]), (used[1], used[0]))
    ]
    batch = [v for v in spatial if v in used[0] and v in used[1]]
    if not all(alone) or len(batch) + sum(map(len, alone)) != len(spatial):
        return None
    if not reduced or any(v not in mine for v in reduced for mine in used):
        return None
    first = 0 if number[alone[0][0]] < number[alone[1][0]] else 1
    groups = (batch, alone[first], alone[1 - first], reduced)
    return first, tuple([number[v] for v in group] for group in groups)


def _runs_along_columns(block: Block, number: int, columns: list[int]) -> bool:
    """Whether neighbours in memory of an operand belong to neighbouring columns."""
    loads = body_loads(block, block.reads[number].buffer)
    own = {block.iters[k].var for k in columns}
    return all(free_vars(load.indices[-1]) & own for load in loads)


def _swapped(batch: int) -> str:
    """The index map that exchanges the two last dimensions."""
    names = [f"x{k}" for k in range(batch + 2)]
    return f"{', '.join(names)} -> [{', '.join((*names[:batch], names[-1], names[-2]))}]"


def _extent(block: Block, number: int) -> int:
    return int_value(block.iters[number].extent) or 1


def _fusions(batch: int, dims: Sequence[list[int]]) -> list[str]:
    """Index maps that make one dimension of each group, two dimensions at a time."""
    sizes = [list(group) for group in dims]
    made: list[str] = []
    for number, group in enumerate(sizes):
        at = batch + number
        while len(group) > 1:
            total = batch + sum(len(other) for other in sizes)
            names = [f"x{k}" for k in range(total)]
            fused = f"x{at} * {group[1]} + x{at + 1}"
            new = [*names[:at], fused, *names[at + 2 :]]
            made.append(f"{', '.join(names)} -> [{', '.join(new)}]")
            group[:2] = [group[0] * group[1]]
    return made


RULES.register(ReindexToMatrices.name, ReindexToMatrices)
