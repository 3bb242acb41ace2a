from __future__ import annotations

import pytest

from metasched import ops
from metasched.ir.parser import parse
from metasched.schedule.schedule import Schedule
from tests.core.schedule.primitives.stages import (
    chain,
    check_valid,
    in_place,
    part_made,
    producer,
    refuses,
    scores,
    tiled,
)
from tests.core.schedule.programs import body, copy, dynamic, matmul


def test_the_block_writes_a_cache_and_a_copy_the_buffer() -> None:
    sch = Schedule(copy(12))
    made = sch.cache_write(sch.get_block("b"), 0, "local")
    assert sch.value(made) == "b_local"
    assert body(sch) == (
        'b_local = alloc((12,), "float32", scope="local")\n'
        "for i0 in serial(12):\n"
        '    with block("b"):\n'
        "        v_i0 = spatial(12, i0)\n"
        "        reads(a[v_i0])\n"
        "        writes(b_local[v_i0])\n"
        "        b_local[v_i0] = a[v_i0] + float32(1.0)\n"
        "for ax0 in serial(12):\n"
        '    with block("b_local"):\n'
        "        v_ax0 = spatial(12, ax0)\n"
        "        reads(b_local[v_ax0])\n"
        "        writes(b[v_ax0])\n"
        "        b[v_ax0] = b_local[v_ax0]\n"
    )
    check_valid(sch)


def test_a_reduction_keeps_its_init_in_the_cache() -> None:
    sch = Schedule(matmul(3, 5, 7))
    block = sch.get_block("c")
    sch.cache_write(block, 0, "local")
    assert "c_local[v_i, v_j] = float32(0.0)" in body(sch)
    assert "c_local[v_i, v_j] = c_local[v_i, v_j] + a" in body(sch)
    check_valid(sch)


def test_other_readers_go_on_reading_the_buffer() -> None:
    sch = Schedule(chain())
    sch.cache_write(sch.get_block("b"), 0, "global")
    assert "reads(c[v_d_i], b[v_d_i])" in body(sch)
    check_valid(sch)


def test_named_readers_read_the_cache() -> None:
    sch = Schedule(chain())
    b, d = sch.get_block("b"), sch.get_block("d")
    sch.cache_write(b, 0, "local", [d])
    assert "c[v_c_i] = b[v_c_i] * float32(2.0)" in body(sch)
    assert "d[v_d_i] = c[v_d_i] - b_local[v_d_i]" in body(sch)
    check_valid(sch)


def test_one_of_two_results() -> None:
    program = ops.argmax(m=3, n=5)
    for index in (0, 1):
        sch = Schedule(program)
        sch.cache_write(sch.get_child_blocks(sch.get_block("root"))[0], index, "local")
        check_valid(sch)


def test_a_part_of_a_buffer() -> None:
    part = parse(
        """@program
def part(a: Buffer((4,), "float32"), c: Buffer((8,), "float32")):
    for i in serial(4):
        with block("c"):
            v_i = spatial(4, i)
            reads(a[v_i])
            writes(c[v_i + 2])
            c[v_i + 2] = a[v_i]
"""
    )
    sch = Schedule(part)
    sch.cache_write(sch.get_block("c"), 0, "local")
    assert "c[v_ax0 + 2] = c_local[v_ax0 + 2]" in body(sch)
    check_valid(sch)


def test_after_splits_that_do_not_divide() -> None:
    sch = Schedule(matmul(5, 7, 3))
    block = sch.get_block("c")
    tiled(sch, block, [None, 2], [None, 4], [None, 2])
    sch.cache_write(block, 0, "local")
    check_valid(sch)


def test_size_known_at_run_time() -> None:
    sch = Schedule(dynamic())
    sch.cache_write(sch.get_block("b"), 0, "local")
    assert "for ax0 in serial(n):" in body(sch)
    check_valid(sch, n=5)


def test_requires_a_known_storage_scope() -> None:
    sch = Schedule(copy(4))
    with refuses(sch, "expected a known storage scope, got 'cache', none of global, local, "):
        sch.cache_write(sch.get_block("b"), 0, "cache")


@pytest.mark.parametrize(("index", "given"), [(-1, "-1 of 1"), (1, "1 of 1"), ("a", "'a' of b")])
def test_requires_an_index_or_the_name_of_a_buffer_that_the_block_writes(
    index: int | str, given: str
) -> None:
    sch = Schedule(copy(4))
    with refuses(sch, f"an index or the name of a buffer that the block writes, got {given}"):
        sch.cache_write(sch.get_block("b"), index, "local")


def test_requires_a_block_that_does_not_read_what_it_writes() -> None:
    sch = Schedule(in_place())
    with refuses(sch, "a block that does not read what it writes, got 'c', which reads 'c' first"):
        sch.cache_write(sch.get_block("c"), "c", "local")


def test_requires_a_block_that_alone_writes_the_buffer() -> None:
    sch = Schedule(matmul())
    block = sch.get_block("c")
    sch.decompose_reduction(block, sch.get_loops(block)[2])
    with refuses(sch, "a block that alone writes the buffer, got 'c_init' writing it too"):
        sch.cache_write(block, 0, "local")


def test_requires_a_block_that_writes_every_element_of_a_box() -> None:
    rule = "a block that writes every element of a box, got 'b' written at "
    sch = Schedule(producer("reads(a[v_i])", "writes(b[v_i * 2])", "b[v_i * 2] = a[v_i]"))
    with refuses(sch, rule + "v_i * 2"):
        sch.cache_write(sch.get_block("b"), 0, "local")
    sch = Schedule(producer("reads(a[v_i])", "writes(b[v_i])", "b[v_i] = a[v_i]", where="i < 5"))
    with refuses(sch, rule + "v_i"):
        sch.cache_write(sch.get_block("b"), 0, "local")


def test_requires_readers_of_the_buffer_outside_of_the_blocks_nest() -> None:
    sch = Schedule(scores())
    block = sch.get_block("c")
    sch.reverse_compute_at(sch.get_block("d"), sch.get_loops(block)[1])
    with refuses(sch, "readers of the buffer outside of the block's nest, got 'd' in it"):
        sch.cache_write(block, 0, "local")


def test_requires_consumers_that_read_only_what_the_block_writes() -> None:
    rule = "consumers that read only what the block writes, got "
    sch = Schedule(part_made())
    with refuses(sch, rule + "'c', which reads more"):
        sch.cache_write(sch.get_block("b"), 0, "local", [sch.get_block("c")])
    sch = Schedule(chain())
    with refuses(sch, rule + "'b'"):
        sch.cache_write(sch.get_block("c"), 0, "local", [sch.get_block("b")])
