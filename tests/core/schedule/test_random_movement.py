"""Random data movement in operators of several stages keeps the result, with tiles as symbols too.

`test_random_schedules` lets a search choose the steps on tiny programs; here seeds choose them on
real operators, and only tilings that a space would sample are symbolic.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from metasched import ops
from metasched.errors import ScheduleError
from metasched.ir.stmt import Program
from metasched.ir.verify import verify
from metasched.schedule.schedule import Schedule
from metasched.testing.equivalence import check_equivalent
from metasched.testing.round_trip import check_round_trip, check_symbolic_replay
from metasched.trace.instruction import Ref

PROGRAMS: dict[str, Callable[[], Program]] = {
    "argmax": lambda: ops.argmax(m=3, n=5),
    "conv2d_transpose": lambda: ops.conv2d_transpose(n=1, h=3, w=3, ci=2, co=2, k=3, s=2, p=1),
    "dense": lambda: ops.dense(m=5, n=4, k=6, bias=True, activation="gelu"),
    "grouped": lambda: ops.conv2d(n=1, h=5, w=5, ci=4, co=4, k=3, s=2, p=1, groups=2),
    "layer_norm": lambda: ops.layer_norm(m=3, n=7),
    "norm": lambda: ops.norm(b=2, m=3, n=4),
    "softmax": lambda: ops.softmax(m=4, n=5),
    "transposed": lambda: ops.transpose_batch_matmul(b=1, l=4, h=2, d=3),
}

Step = Callable[[Schedule, random.Random, Ref], None]


def tile(sch: Schedule, rng: random.Random, block: Ref) -> None:
    """Tile all loops of a block that nothing has touched yet."""
    loops = sch.get_loops(block)
    if any("_0" in str(sch.value(x)) or str(sch.value(x)).startswith("ax") for x in loops):
        return
    parts = [sch.split(x, sch.sample_perfect_tile(x, 2, 64)) for x in loops]
    sch.reorder(*(p[0] for p in parts), *(p[1] for p in parts))


def any_loop(sch: Schedule, rng: random.Random) -> Ref:
    blocks = sch.get_child_blocks(sch.get_block("root"))
    return rng.choice([x for b in blocks for x in sch.get_loops(b)])


def compute_at(sch: Schedule, rng: random.Random, block: Ref) -> None:
    sch.compute_at(block, any_loop(sch, rng), True, rng.choice([-1, -2]))


def reverse_compute_at(sch: Schedule, rng: random.Random, block: Ref) -> None:
    sch.reverse_compute_at(block, any_loop(sch, rng), True, rng.choice([-1, -2]))


def compute_inline(sch: Schedule, rng: random.Random, block: Ref) -> None:
    sch.compute_inline(block)


def reverse_compute_inline(sch: Schedule, rng: random.Random, block: Ref) -> None:
    sch.reverse_compute_inline(block)


def cache_read(sch: Schedule, rng: random.Random, block: Ref) -> None:
    sch.cache_read(block, rng.randrange(3), "local")


def cache_write(sch: Schedule, rng: random.Random, block: Ref) -> None:
    sch.cache_write(block, rng.randrange(2), "local")


def reindex_cache_read(sch: Schedule, rng: random.Random, block: Ref) -> None:
    count = len(sch.state.block(str(sch.value(block))).iters)
    order = rng.sample(range(count), rng.randint(1, count))
    sch.reindex_cache_read(block, rng.randrange(2), "local", order)


def rfactor(sch: Schedule, rng: random.Random, block: Ref) -> None:
    sch.rfactor(rng.choice(sch.get_loops(block)), rng.choice([0, -1]))


STEPS: tuple[Step, ...] = (
    tile, compute_at, compute_at, reverse_compute_at, reverse_compute_at, compute_inline,
    reverse_compute_inline, cache_read, cache_write, reindex_cache_read, rfactor,
)  # fmt: skip


def scheduled(name: str, seed: int) -> tuple[Schedule, int]:
    """A random schedule of an operator, and how many steps were taken."""
    rng = random.Random(f"{name} {seed}")
    sch, taken = Schedule(PROGRAMS[name](), seed=seed), 0
    for _ in range(12):
        block = rng.choice(sch.get_child_blocks(sch.get_block("root")))
        before, step = sch.program, rng.choice(STEPS)
        try:
            step(sch, rng, block)
            taken += 1
        except ScheduleError:
            # Tiling consists of several primitives, of which the last may be refused.
            assert step is tile or sch.program is before, "a refused primitive had an effect"
    return sch, taken


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_result_stays(name: str) -> None:
    taken = 0
    for seed in range(8):
        sch, steps = scheduled(name, seed)
        taken += steps
        verify(sch.program)
        check_equivalent(sch.original, sch.program, seed=seed)
        check_round_trip(sch)
        check_symbolic_replay(sch)
    assert taken > 20, "the steps are nearly always refused, so little is tested"
