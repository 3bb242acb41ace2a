"""Steps of the primitives that make a block of statements, and an intrinsic of a block."""

from __future__ import annotations

import random
from functools import partial

from metasched.schedule.schedule import Schedule
from metasched.target.intrinsics import TENSOR_INTRINS, TensorIntrin
from tests.core.schedule.steps.step import Proposal, Step, a_block, a_loop


def blockize(rng: random.Random, sch: Schedule) -> Proposal:
    keep = rng.random() < 0.5
    if rng.random() < 0.7:
        return partial(sch.blockize, a_loop(rng, sch), preserve_unit_iters=keep)
    blocks = sch.get_child_blocks(sch.get_block(sch.program.root.name))
    start = rng.randrange(len(blocks))
    return partial(sch.blockize, list(blocks[start : start + rng.randint(1, 3)]))


def point(name: str, reads: str, value: str) -> str:
    """An intrinsic that computes a single element, so that it is found in most programs."""
    params = ", ".join(f'{b}: Buffer((), "float32")' for b in "abc")
    head = f"@program\ndef point({params}):\n"
    block = f'    with block("c"):\n        reads({reads})\n        writes(c[()])\n    '
    body = f"    c[()] = {value}"
    TENSOR_INTRINS.register(name, TensorIntrin.of(name, head + block + body, head + body))
    return name


POINTS = (
    point("point_copy", "a[()]", "a[()]"),
    point("point_add", "a[()], b[()]", "a[()] + b[()]"),
    point("point_sum", "c[()], a[()]", "c[()] + a[()]"),
    point("point_fma", "c[()], a[()], b[()]", "c[()] + a[()] * b[()]"),
)


def tensorize(rng: random.Random, sch: Schedule) -> Proposal:
    outer = sch.blockize([a_block(rng, sch)])
    return partial(sch.tensorize, outer, rng.choice(POINTS))


STEPS = (Step("blockize", blockize, 3), Step("tensorize", tensorize, 3))
