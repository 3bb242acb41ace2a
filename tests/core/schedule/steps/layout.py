"""Steps of the primitives that change layouts and domains."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

from metasched.errors import ScheduleError
from metasched.ir.expr import Expr, Var
from metasched.schedule.index_map import IndexMap
from metasched.schedule.schedule import Schedule
from tests.core.schedule.steps.step import Proposal, Step, a_block, a_loop


def a_map(rng: random.Random, shape: Sequence[Expr]) -> str:
    """Dimensions split, fused, shifted and moved, mostly so that no padding is left."""
    inputs = tuple(Var(f"i{k}") for k in range(len(shape)))
    sizes = [getattr(n, "value", None) for n in shape]
    axes: list[tuple[Expr, int]] = [(v, int(n)) for v, n in zip(inputs, sizes, strict=True) if n]
    if len(axes) < len(shape):
        raise ScheduleError("expected constant extents")
    for _ in range(rng.randint(0, 3) if axes else 0):
        index, extent = axes.pop(rng.randrange(len(axes)))
        match rng.choice(["split", "split", "fuse", "shift", "move", "move"]):
            case "split":
                exact = [f for f in range(1, extent + 1) if extent % f == 0]
                factor = rng.choice(exact) if rng.random() < 0.7 else rng.randint(1, 6)
                axes += [(index // factor, -(-extent // factor)), (index % factor, factor)]
            case "fuse" if axes:
                other, size = axes.pop(rng.randrange(len(axes)))
                axes.append((index * size + other, extent * size))
            case "shift" if rng.random() < 0.3:
                axes.append((index + 1, extent + 1))
            case _:
                axes.insert(rng.randint(0, len(axes)), (index, extent))
    return str(IndexMap(inputs, tuple(index for index, _ in axes)))


def transform_layout(rng: random.Random, sch: Schedule) -> Proposal:
    block = a_block(rng, sch)
    found = sch.get(block)
    sides = [
        (side, k, r) for side in ("reads", "writes") for k, r in enumerate(getattr(found, side))
    ]
    inner = [s for s in sides if s[2].buffer not in sch.program.params]
    if not inner:
        raise ScheduleError("expected a block that uses an intermediate")
    side, index, region = rng.choice(inner)
    text = a_map(rng, region.buffer.shape)
    which = rng.choice([region.buffer.name, (side.removesuffix("s"), index)])
    pad = rng.choice([None, 0, 1, 0.5])
    return partial(sch.transform_layout, block, which, text, pad_value=pad)


def transform_block_layout(rng: random.Random, sch: Schedule) -> Proposal:
    block = a_block(rng, sch)
    text = a_map(rng, [it.extent for it in sch.get(block).iters])
    return partial(sch.transform_block_layout, block, text)


def decompose_padding(rng: random.Random, sch: Schedule) -> Proposal:
    choosing = [b.name for b in sch.state.tree.blocks.values() if "if_then_else" in str(b.body)]
    block = sch.get_block(rng.choice(choosing)) if choosing else a_block(rng, sch)
    loop = a_loop(rng, sch, block)
    if rng.random() < 0.3:
        sch.can_decompose_padding(block, loop)
    return partial(sch.decompose_padding, block, loop)


def pad_einsum(rng: random.Random, sch: Schedule) -> Proposal:
    block = a_block(rng, sch)
    factors = [rng.choice([1, 1, 2, 3, 4]) for _ in sch.get(block).iters]
    return partial(sch.pad_einsum, block, factors)


STEPS = (
    Step("decompose_padding", decompose_padding, 8),
    Step("pad_einsum", pad_einsum),
    Step("transform_layout", transform_layout, weight=3),
    Step("transform_block_layout", transform_block_layout, weight=3),
)
