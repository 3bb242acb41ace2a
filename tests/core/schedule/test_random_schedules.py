"""Random sequences of primitives keep the result, in any order of what may run at the same time.

A step looks at the schedule, picks a target by the numbers it is given and tries one primitive; a
refusal is fine. To cover another primitive, add a function to `STEPS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metasched import te
from metasched.errors import ScheduleError
from metasched.ir.stmt import Block, For, Program, Stmt
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import edit_stmt, rebind
from metasched.testing.equivalence import check_equivalent
from metasched.trace.instruction import Ref
from tests.core.schedule.programs import check, copy, matmul, two_stages

Step = Callable[[Schedule, int, int], None]


def windows() -> Program:
    """Padding, then a strided sum of windows, then a function of it."""
    x = te.placeholder((9,), "float32", name="x")
    pad = te.compute(
        (11,),
        lambda i: te.if_then_else(te.all(i >= 1, i < 10), x[i - 1], 0.0),
        name="pad",
    )
    r = te.reduce_axis(3, name="r")
    y = te.compute((5,), lambda i: te.sum(pad[i * 2 + r], axis=r), name="y")
    z = te.compute((5,), lambda i: te.max(y[i], 0.0), name="z")
    return te.program([x, z], name="windows")


PROGRAMS: dict[str, Callable[[], Program]] = {
    "copy": lambda: copy(4, 6),
    "matmul": lambda: matmul(4, 6, 5),
    "two_stages": two_stages,
    "windows": windows,
}


def block(sch: Schedule, pick: int) -> Ref:
    blocks = sch.get_child_blocks(sch.get_block("root"))
    return blocks[pick % len(blocks)]


def loop(sch: Schedule, pick: int) -> Ref:
    loops = [ref for b in sch.get_child_blocks(sch.get_block("root")) for ref in sch.get_loops(b)]
    if not loops:
        raise ScheduleError("the block has no loop")
    return loops[pick % len(loops)]


def split(sch: Schedule, a: int, b: int) -> None:
    sch.split(loop(sch, a), [None, b % 4 + 1] if b % 2 else [b % 3 + 1, None])


def tile(sch: Schedule, a: int, b: int) -> None:
    target = loop(sch, a)
    sch.split(target, sch.sample_perfect_tile(target, b % 3 + 1))


def fuse(sch: Schedule, a: int, b: int) -> None:
    loops = sch.get_loops(block(sch, a))
    start = b % max(len(loops) - 1, 1)
    sch.fuse(*loops[start : start + 2])


def reorder(sch: Schedule, a: int, b: int) -> None:
    loops = list(sch.get_loops(block(sch, a)))
    moved = loops.pop(b % max(len(loops), 1)) if loops else loop(sch, a)
    sch.reorder(*[moved, *loops][: b % 4 + 1])


def parallel(sch: Schedule, a: int, b: int) -> None:
    sch.parallel(loop(sch, a))


def vectorize(sch: Schedule, a: int, b: int) -> None:
    sch.vectorize(sch.get_loops(block(sch, a))[-1])


def unroll(sch: Schedule, a: int, b: int) -> None:
    sch.unroll(loop(sch, a))


def add_unit_loop(sch: Schedule, a: int, b: int) -> None:
    sch.add_unit_loop(block(sch, a) if b % 2 else loop(sch, a))


def annotate(sch: Schedule, a: int, b: int) -> None:
    sch.annotate(loop(sch, a) if b % 2 else block(sch, a), f"note_{b % 3}", b)


def compute_location(sch: Schedule, a: int, b: int) -> None:
    target = block(sch, a)
    sch.compute_at(target, sch.sample_compute_location(target), preserve_unit_loops=True)


def compute_at(sch: Schedule, a: int, b: int) -> None:
    sch.compute_at(block(sch, a), loop(sch, b), preserve_unit_loops=bool(b % 2))


def reverse_compute_at(sch: Schedule, a: int, b: int) -> None:
    sch.reverse_compute_at(block(sch, a), loop(sch, b), preserve_unit_loops=bool(b % 2))


def compute_inline(sch: Schedule, a: int, b: int) -> None:
    sch.compute_inline(block(sch, a))


def reverse_compute_inline(sch: Schedule, a: int, b: int) -> None:
    sch.reverse_compute_inline(block(sch, a))


def cache_read(sch: Schedule, a: int, b: int) -> None:
    sch.cache_read(block(sch, a), b % 2, "local")


def cache_write(sch: Schedule, a: int, b: int) -> None:
    sch.cache_write(block(sch, a), 0, "local")


def decompose_reduction(sch: Schedule, a: int, b: int) -> None:
    sch.decompose_reduction(block(sch, a), loop(sch, b))


def rfactor(sch: Schedule, a: int, b: int) -> None:
    sch.rfactor(loop(sch, a), b % 3)


STEPS: tuple[Step, ...] = (
    split, tile, fuse, reorder, parallel, vectorize, unroll, add_unit_loop, annotate,
    compute_location, compute_at, reverse_compute_at, compute_inline, reverse_compute_inline,
    cache_read, cache_write, decompose_reduction, rfactor,
)  # fmt: skip


def apply(sch: Schedule, steps: list[tuple[int, int, int]]) -> int:
    """Try the steps; how many were not refused."""
    done = 0
    for kind, a, b in steps:
        before = sch.program
        try:
            STEPS[kind](sch, a, b)
            done += 1
        except ScheduleError:
            assert sch.program is before, "a refused primitive changed the program"
    return done


def backwards(program: Program) -> Program:
    """The program with its parallel and vectorized loops run from the last iteration down."""

    def turn(stmt: Stmt) -> Stmt:
        if isinstance(stmt, For) and stmt.kind in ("parallel", "vectorized"):
            last = stmt.extent - 1
            return replace(stmt, body=rebind(stmt.body, {stmt.var: last - stmt.var}))
        return stmt

    root = edit_stmt(program.root, turn)
    assert isinstance(root, Block)
    return replace(program, root=root)


NUMBERS = st.integers(0, 23)


@pytest.mark.parametrize("name", PROGRAMS)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, len(STEPS) - 1), NUMBERS, NUMBERS), min_size=1, max_size=9
    ),
    seed=st.integers(0, 3),
)
def test_the_result_stays(name: str, steps: list[tuple[int, int, int]], seed: int) -> None:
    sch = Schedule(PROGRAMS[name](), seed=seed)
    apply(sch, steps)
    check(sch)
    check_equivalent(sch.original, backwards(sch.program))


def test_every_step_applies_somewhere() -> None:
    for kind, step in enumerate(STEPS):
        applied = sum(
            apply(Schedule(make()), [(kind, a, b)])
            for make in PROGRAMS.values()
            for a in range(4)
            for b in range(4)
        )
        assert applied, f"{step.__name__} was always refused"
