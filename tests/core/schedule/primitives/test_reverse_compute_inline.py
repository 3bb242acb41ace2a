from __future__ import annotations

from collections.abc import Callable

import pytest

from metasched import ops, te
from metasched.ir.expr import Expr
from metasched.ir.stmt import Program
from metasched.schedule.schedule import Schedule
from tests.core.schedule.primitives.stages import (
    chain,
    check_valid,
    part_made,
    producer,
    refuses,
    rolled,
    row_sums,
    twice_written,
)
from tests.core.schedule.programs import body, two_stages


def fused(program: Program, block: str) -> Schedule:
    sch = Schedule(program)
    sch.reverse_compute_inline(sch.get_block(block))
    return sch


def test_the_producer_stores_the_consumers_result() -> None:
    sch = fused(two_stages(4, 5), "c")
    assert body(sch) == (
        "for i in serial(4):\n"
        "    for j in serial(5):\n"
        '        with block("b"):\n'
        "            v_i = spatial(4, i)\n"
        "            v_j = spatial(5, j)\n"
        "            reads(a[v_i, v_j])\n"
        "            writes(c[v_i, v_j])\n"
        "            c[v_i, v_j] = (a[v_i, v_j] + float32(1.0)) * float32(2.0)\n"
    )
    check_valid(sch)


Read = Callable[..., tuple[Expr | int, ...]]


def reshaped(shape: tuple[int, ...], read: Read) -> Program:
    a = te.placeholder((6, 4), "float32", name="a")
    b = te.compute((6, 4), lambda i, j: a[i, j] + 1.0, name="b")
    c = te.compute(shape, lambda *v: b[read(*v)] * 2.0, name="c")
    return te.program([a, c], name="reshaped")


@pytest.mark.parametrize(
    ("shape", "read"),
    [
        ((4, 6), lambda x, y: (y, x)),
        ((24,), lambda x: (x // 4, x % 4)),
        ((4, 2, 3), lambda x, y, z: (y * 3 + z, x)),
        ((6, 4, 1), lambda x, y, z: (x + z, y)),
        ((3, 4), lambda x, y: (x + 1, y)),
        ((5,), lambda x: (x, 2)),
    ],
)
def test_other_orders_and_shapes(shape: tuple[int, ...], read: Read) -> None:
    sch = fused(reshaped(shape, read), "c")
    assert "reads(a[v_i, v_j])" in body(sch)
    check_valid(sch)


def test_elements_that_are_not_read_are_not_stored() -> None:
    sch = fused(reshaped((3, 4), lambda x, y: (x + 1, y)), "c")
    assert "where(0 <= i - 1 and i - 1 < 3)" in body(sch)
    check_valid(sch)


def test_a_copy_of_a_cache() -> None:
    sch = Schedule(two_stages(3, 5))
    sch.reverse_compute_inline(sch.cache_write(sch.get_block("c"), 0, "local"))
    assert body(sch) == body(Schedule(two_stages(3, 5)))
    check_valid(sch)


def test_requires_a_complete_block() -> None:
    sch = Schedule(row_sums())
    with refuses(sch, "expected a complete block, got 's', whose iteration 'v_k' is reduce"):
        sch.reverse_compute_inline(sch.get_block("s"))


def test_requires_a_block_that_reads_one_producers_result() -> None:
    sch = Schedule(chain())
    with refuses(sch, "expected a block that reads one producer's result, got 'b', 'c'"):
        sch.reverse_compute_inline(sch.get_block("d"))
    with refuses(sch, "expected a block that reads one producer's result, got no producer"):
        sch.reverse_compute_inline(sch.get_block("b"))


def test_requires_a_producer_that_is_a_complete_block() -> None:
    sch = Schedule(ops.dense(m=3, n=4, k=5, bias=False, activation="relu"))
    relu = sch.get_output_blocks(sch.get_block("root"))[0]
    with refuses(sch, "expected a producer that is a complete block, got "):
        sch.reverse_compute_inline(relu)
    sch = Schedule(twice_written())
    with refuses(sch, "expected a block that reads one producer's result, got 'low', 'high'"):
        sch.reverse_compute_inline(sch.get_block("c"))


def test_requires_a_producer_whose_result_only_this_block_reads() -> None:
    sch = Schedule(chain())
    rule = "expected a producer whose result only this block reads, got 'd', which reads it too"
    with refuses(sch, rule):
        sch.reverse_compute_inline(sch.get_block("c"))


def test_requires_a_single_store_in_both_blocks() -> None:
    sch = Schedule(producer("reads(a[v_i])", "writes(b[v_i])", "b[v_i] = a[v_i]", "b[v_i] = a[0]"))
    with refuses(sch, "expected a single store in both blocks, got several statements"):
        sch.reverse_compute_inline(sch.get_block("c"))


def test_requires_blocks_without_conditions() -> None:
    sch = Schedule(producer("reads(a[v_i])", "writes(b[v_i])", "b[v_i] = a[v_i]", where="i < 5"))
    with refuses(sch, "expected blocks without conditions, got i < 5"):
        sch.reverse_compute_inline(sch.get_block("c"))


@pytest.mark.parametrize(
    ("shape", "read"),
    [
        ((6, 6), lambda x, y: (x, 0)),
        ((3, 4, 2), lambda x, y, z: (x * 2 + z, y // 2)),
        ((5, 4), lambda x, y: ((x + y) % 6, y)),
    ],
)
def test_requires_a_read_of_the_producers_result_that_can_be_inverted(
    shape: tuple[int, ...], read: Read
) -> None:
    sch = Schedule(reshaped(shape, read))
    with refuses(sch, "expected a read of the producer's result that can be inverted, got b["):
        sch.reverse_compute_inline(sch.get_block("c"))


def test_requires_a_read_of_the_producers_result_that_can_be_inverted_at_one_place() -> None:
    a = te.placeholder((6,), "float32", name="a")
    b = te.compute((6,), lambda i: a[i] + 1.0, name="b")
    c = te.compute((5,), lambda i: b[i] + b[i + 1], name="c")
    sch = Schedule(te.program([a, c]))
    with refuses(sch, "expected a read of the producer's result that can be inverted, got b[v_"):
        sch.reverse_compute_inline(sch.get_block("c"))


def test_requires_a_producer_that_makes_all_that_the_block_reads() -> None:
    sch = Schedule(part_made())
    with refuses(sch, "a producer that makes all that the block reads, got 'b', which makes only"):
        sch.reverse_compute_inline(sch.get_block("c"))


def test_requires_a_block_that_reads_what_stays_as_it_is() -> None:
    sch = rolled()
    rule = (
        "expected a block that reads what stays as it is, got 'c', which reads 'b' while 'b' goes"
    )
    with refuses(sch, rule):
        sch.reverse_compute_inline(sch.get_block("c"))
