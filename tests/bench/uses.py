"""A fair use of each primitive on a convolution whose nest has 12 loops.

A use prepares the schedule, then gives the step to be timed. A primitive without a use here gets
the first legal one of the random tests, so that new primitives are timed, too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, TypeAlias

from metasched import ops
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref
from tests.core.schedule.steps import STEPS
from tests.core.schedule.steps.step import Step as RandomStep
from tests.core.schedule.steps.step import attempt

BLOCK: Final = "conv"
FACTORS: Final = (1, 2, 2, 3, 1, 1, 2)
"""Into how many loops each loop of the convolution is split: 12 altogether."""

Step: TypeAlias = Callable[[Schedule], object]
Use: TypeAlias = Callable[[Schedule], Step]


def nest() -> Schedule:
    """The convolution between its padding and an epilogue, its 12 loops tiled and ordered."""
    whole = Schedule(ops.conv2d_bias_relu(h=56, w=56, ci=64, co=64, k=3, s=1, p=1))
    for stage in ("add_bias", "bn_mul"):
        whole.compute_inline(whole.get_block(stage))
    sch = Schedule(whole.program)
    levels: list[list[Ref]] = [[], [], []]
    for loop, count in zip(loops(sch), FACTORS, strict=True):
        parts = sch.split(loop, (None, *[4] * (count - 1))) if count > 1 else (loop,)
        for level, part in zip(levels, parts, strict=False):
            level.append(part)
    sch.reorder(*(loop for level in levels for loop in level))
    return sch


def loops(sch: Schedule, block: str = BLOCK) -> tuple[Ref, ...]:
    """The loops around a block: n, h, w, o, kh, kw, ci, then tiles of h, w, o, ci, then of o."""
    return sch.get_loops(sch.get_block(block))


def on_loop(position: int, step: Callable[[Schedule, Ref], object]) -> Use:
    """A step on one loop of the convolution."""

    def use(sch: Schedule) -> Step:
        loop = loops(sch)[position]
        return lambda timed: step(timed, loop)

    return use


def on_block(step: Callable[[Schedule, Ref], object], block: str = BLOCK) -> Use:
    """A step on a block."""

    def use(sch: Schedule) -> Step:
        ref = sch.get_block(block)
        return lambda timed: step(timed, ref)

    return use


def _fuse(sch: Schedule) -> Step:
    outer = loops(sch)[:4]
    return lambda timed: timed.fuse(*outer)


def _reorder(sch: Schedule) -> Step:
    inner = loops(sch)[7:10]
    return lambda timed: timed.reorder(*reversed(inner))


def _merge(sch: Schedule) -> Step:
    sch.decompose_reduction(sch.get_block(BLOCK), loops(sch)[0])
    pairs = loops(sch)[3], loops(sch, f"{BLOCK}_init")[3]
    return lambda timed: timed.merge(*pairs)


def _compute_at(sch: Schedule) -> Step:
    pad, loop = sch.get_block("pad"), loops(sch)[3]
    return lambda timed: timed.compute_at(pad, loop)


def _reverse_compute_at(sch: Schedule) -> Step:
    stage, loop = sch.get_block("bn_add"), loops(sch)[3]
    return lambda timed: timed.reverse_compute_at(stage, loop)


def _decompose_reduction(sch: Schedule) -> Step:
    block, loop = sch.get_block(BLOCK), loops(sch)[4]
    return lambda timed: timed.decompose_reduction(block, loop)


def _unannotate(sch: Schedule) -> Step:
    loop = loops(sch)[0]
    sch.annotate(loop, "note", 1)
    return lambda timed: timed.unannotate(loop, "note")


def _cache_inplace(sch: Schedule) -> Step:
    block = sch.get_block(BLOCK)
    sch.decompose_reduction(block, loops(sch)[0])
    return lambda timed: timed.cache_inplace(block, BLOCK, "local")


def _read_at(sch: Schedule) -> Step:
    block, loop = sch.get_block(BLOCK), loops(sch)[3]
    return lambda timed: timed.read_at(loop, block, 0, "local")


def _write_at(sch: Schedule) -> Step:
    block, loop = sch.get_block(BLOCK), loops(sch)[3]
    return lambda timed: timed.write_at(loop, block, 0, "local")


def _set_scope(sch: Schedule) -> Step:
    cache = sch.cache_read(sch.get_block(BLOCK), 0, "global")
    return lambda timed: timed.set_scope(cache, 0, "local")


USES: Final[Mapping[str, Use]] = {
    "add_unit_loop": on_loop(0, lambda s, x: s.add_unit_loop(x)),
    "annotate": on_loop(0, lambda s, x: s.annotate(x, "note", 1)),
    "bind": on_loop(1, lambda s, x: s.bind(x, "blockIdx.x")),
    "blockize": on_loop(7, lambda s, x: s.blockize(x)),
    "cache_inplace": _cache_inplace,
    "cache_read": on_block(lambda s, b: s.cache_read(b, 0, "local")),
    "cache_write": on_block(lambda s, b: s.cache_write(b, 0, "local")),
    "compute_at": _compute_at,
    "compute_inline": on_block(lambda s, b: s.compute_inline(b), "pad"),
    "decompose_reduction": _decompose_reduction,
    "fuse": _fuse,
    "get_child_blocks": on_loop(0, lambda s, x: s.get_child_blocks(x)),
    "loop_partition": on_loop(7, lambda s, x: s.loop_partition(x, [1, None])),
    "merge": _merge,
    "parallel": on_loop(1, lambda s, x: s.parallel(x)),
    "read_at": _read_at,
    "reorder": _reorder,
    "reorder_block_iter_var": on_block(
        lambda s, b: s.reorder_block_iter_var(b, [0, 2, 1, 3, 6, 5, 4])
    ),
    "reverse_compute_at": _reverse_compute_at,
    "reverse_compute_inline": on_block(lambda s, b: s.reverse_compute_inline(b), "relu"),
    "rfactor": on_loop(6, lambda s, x: s.rfactor(x, 0)),
    "sample_perfect_tile": on_loop(1, lambda s, x: s.sample_perfect_tile(x, 2)),
    "set_scope": _set_scope,
    "split": on_loop(11, lambda s, x: s.split(x, [None, 3])),
    "unannotate": _unannotate,
    "unroll": on_loop(11, lambda s, x: s.unroll(x)),
    "vectorize": on_loop(11, lambda s, x: s.vectorize(x)),
    "write_at": _write_at,
}


def use_of(kind: str) -> Use | None:
    """The use of a primitive, or else a random one; None where the random ones are refused."""
    known = USES.get(kind)
    return known if known is not None else _random_use(kind)


def _random_use(kind: str) -> Use | None:
    for step in STEPS:
        for seed in range(200 if step.name == kind else 0):
            if attempt(step, random.Random(seed), nest()):
                return partial(_drawn, step, seed)
    return None


def _drawn(step: RandomStep, seed: int, sch: Schedule) -> Step:
    proposal = step.draw(random.Random(seed), sch)
    return lambda timed: getattr(timed, step.name)(*proposal.args, **proposal.keywords)
