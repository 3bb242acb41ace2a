from __future__ import annotations

import pytest

from metasched import ops
from metasched.ir.parser import parse
from metasched.schedule.schedule import Schedule
from tests.core.schedule.primitives.stages import (
    check_valid,
    in_place,
    nested,
    producer,
    refuses,
    scores,
    tiled,
)
from tests.core.schedule.programs import body, copy, dynamic, matmul


def test_a_result_in_another_order() -> None:
    sch = Schedule(matmul(3, 5, 2))
    made = sch.reindex_cache_write(sch.get_block("c"), 0, "local", "i, j, k -> [j, i]")
    assert sch.value(made) == "c_local"
    assert body(sch) == (
        'c_local = alloc((5, 3), "float32", scope="local")\n'
        "for i in serial(3):\n"
        "    for j in serial(5):\n"
        "        for k in serial(2):\n"
        '            with block("c"):\n'
        "                v_i = spatial(3, i)\n"
        "                v_j = spatial(5, j)\n"
        "                v_k = reduce(2, k)\n"
        "                reads(a[v_i, v_k], b[v_k, v_j])\n"
        "                writes(c_local[v_j, v_i])\n"
        "                with init():\n"
        "                    c_local[v_j, v_i] = float32(0.0)\n"
        "                c_local[v_j, v_i] = c_local[v_j, v_i] + a[v_i, v_k] * b[v_k, v_j]\n"
        "for ax0 in serial(3):\n"
        "    for ax1 in serial(5):\n"
        '        with block("c_local"):\n'
        "            v_ax0 = spatial(3, ax0)\n"
        "            v_ax1 = spatial(5, ax1)\n"
        "            reads(c_local[v_ax1, v_ax0])\n"
        "            writes(c[v_ax0, v_ax1])\n"
        "            c[v_ax0, v_ax1] = c_local[v_ax1, v_ax0]\n"
    )
    check_valid(sch)


def test_positions_are_the_order_of_the_copy_too() -> None:
    sch = Schedule(matmul(3, 5, 2))
    sch.reindex_cache_write(sch.get_block("c"), "c", "local", (1, 0))
    assert "c[v_ax1, v_ax0] = c_local[v_ax0, v_ax1]" in body(sch)
    check_valid(sch)


def test_tiles_that_do_not_fill_the_cache() -> None:
    sch = Schedule(matmul(7, 5, 1))
    block = sch.get_block("c")
    sch.reindex_cache_write(block, 0, "local", lambda i, j, k: [i // 4, j // 2, i % 4, j % 2])
    assert 'c_local = alloc((2, 3, 4, 2), "float32", scope="local")' in body(sch)
    assert "c[v_ax0, v_ax1] = c_local[v_ax0 // 4, v_ax1 // 2, v_ax0 % 4, v_ax1 % 2]" in body(sch)
    check_valid(sch)


def test_a_packed_tile_where_it_is_made() -> None:
    sch = Schedule(matmul(4, 6, 5))
    block = sch.get_block("c")
    _, (j, _), _ = tiled(sch, block, [2, 2], [3, 2], [5, 1])
    made = sch.reindex_cache_write(block, 0, "global", "i, j, k -> [i // 2, j // 2, i % 2, j % 2]")
    sch.reverse_compute_at(made, j)
    check_valid(sch)


def test_readers_go_on_reading_the_buffer() -> None:
    sch = Schedule(scores(1, 3, 2))
    sch.reindex_cache_write(sch.get_block("c"), 0, "local", "i, j, k -> [j, i]")
    assert "max(c[v_d_i, v_d_j], float32(0.0))" in body(sch)
    check_valid(sch)


def test_one_of_two_results() -> None:
    for index in (0, 1):
        sch = Schedule(ops.argmax(m=3, n=5))
        block = sch.get_child_blocks(sch.get_block("root"))[0]
        sch.reindex_cache_write(block, index, "local", "i, k -> [i]")
        check_valid(sch)


def test_size_known_at_run_time() -> None:
    sch = Schedule(dynamic())
    sch.reindex_cache_write(sch.get_block("b"), 0, "local", lambda i: [i // 4, i % 4])
    check_valid(sch, n=5)


def test_requires_a_known_storage_scope() -> None:
    sch = Schedule(copy(4))
    with refuses(sch, "expected a known storage scope, got 'L1'"):
        sch.reindex_cache_write(sch.get_block("b"), 0, "L1", "i -> [i]")


def test_requires_an_index_or_the_name_of_a_buffer_that_the_block_writes() -> None:
    sch = Schedule(copy(4))
    with refuses(sch, "an index or the name of a buffer that the block writes, got 'a' of b"):
        sch.reindex_cache_write(sch.get_block("b"), "a", "local", "i -> [i]")


def test_requires_a_block_that_alone_writes_the_buffer() -> None:
    sch = Schedule(matmul())
    block = sch.get_block("c")
    sch.decompose_reduction(block, sch.get_loops(block)[2])
    with refuses(sch, "a block that alone writes the buffer, got 'c_init' writing it too"):
        sch.reindex_cache_write(block, 0, "local", "i, j, k -> [j, i]")


def test_requires_a_block_that_does_not_read_what_it_writes() -> None:
    sch = Schedule(in_place())
    with refuses(sch, "a block that does not read what it writes, got 'c', which reads 'c' first"):
        sch.reindex_cache_write(sch.get_block("c"), 0, "local", "i -> [i]")


def test_requires_readers_of_the_buffer_outside_of_the_blocks_nest() -> None:
    sch = Schedule(scores())
    c = sch.get_block("c")
    sch.reverse_compute_at(sch.get_block("d"), sch.get_loops(c)[0])
    with refuses(sch, "readers of the buffer outside of the block's nest, got 'd' in it"):
        sch.reindex_cache_write(c, 0, "local", "i, j, k -> [j, i]")


def test_requires_a_block_without_loops_or_blocks_inside() -> None:
    sch = Schedule(nested())
    with refuses(sch, "a block without loops or blocks inside, got loop 'x'"):
        sch.reindex_cache_write(sch.get_block("outer"), 0, "local", "i -> [i]")


def test_requires_a_buffer_that_the_block_accesses_at_one_place() -> None:
    program = producer("reads(a[v_i])", "writes(b[0:8])", "b[v_i] = a[v_i]", "b[7 - v_i] = a[v_i]")
    sch = Schedule(program)
    with refuses(sch, "a buffer that the block accesses at one place, got 2 places of 'b'"):
        sch.reindex_cache_write(sch.get_block("b"), 0, "local", "i -> [i]")


def test_requires_a_block_that_writes_one_element_in_each_of_its_iterations() -> None:
    program = producer("reads(a[v_i])", "writes(b[v_i])", "b[v_i] = a[v_i]", where="i < 5")
    sch = Schedule(program)
    with refuses(sch, "a block that writes one element in each of its iterations, got 'b' written"):
        sch.reindex_cache_write(sch.get_block("b"), 0, "local", "i -> [i]")


def test_requires_an_index_map() -> None:
    sch = Schedule(copy(4))
    with refuses(sch, "expected an index map, got "):
        sch.reindex_cache_write(sch.get_block("b"), 0, "local", "i")


def test_requires_an_index_map_with_one_index_for_each_iteration() -> None:
    sch = Schedule(copy(4))
    with refuses(sch, "an index map with one index for each iteration, got 2 for 1"):
        sch.reindex_cache_write(sch.get_block("b"), 0, "local", "i, j -> [i]")


def test_requires_an_index_map_to_indices_of_a_known_range() -> None:
    sch = Schedule(copy(4))
    with refuses(sch, "an index map to indices of a known range, got "):
        sch.reindex_cache_write(sch.get_block("b"), 0, "local", "i -> [i - 1]")


def test_requires_positions_of_the_blocks_iterations() -> None:
    sch = Schedule(copy(4))
    with refuses(sch, "positions of the block's iterations, got (1,) of 1"):
        sch.reindex_cache_write(sch.get_block("b"), 0, "local", (1,))


@pytest.mark.parametrize("index_map", ["i, j, k -> [i]", "i, j, k -> [i + j]", (0,)])
def test_requires_a_place_of_its_own_for_each_of_the_iterations_of_the_access(
    index_map: str | tuple[int, ...],
) -> None:
    sch = Schedule(matmul())
    rule = "a place of its own for each of the iterations that the access depends on, got [v_i"
    with refuses(sch, rule):
        sch.reindex_cache_write(sch.get_block("c"), 0, "local", index_map)


def test_requires_a_place_that_depends_on_no_further_iterations() -> None:
    sch = Schedule(matmul())
    with refuses(sch, "a place that depends on no further iterations, got 'v_k'"):
        sch.reindex_cache_write(sch.get_block("c"), 0, "local", "i, j, k -> [i, j, k]")


def test_requires_indices_that_read_nothing() -> None:
    program = parse(
        """@program
def main(t: Buffer((8,), "int64"), a: Buffer((8,), "float32"), b: Buffer((8,), "float32")):
    for i in serial(8):
        with block("b"):
            v_i = spatial(8, i)
            reads(a[v_i], t[v_i])
            writes(b[0:8])
            b[t[v_i]] = a[v_i]
"""
    )
    sch = Schedule(program)
    with refuses(sch, "indices that read nothing, got b[t[v_i]]"):
        sch.reindex_cache_write(sch.get_block("b"), 0, "local", "i -> [i]")
