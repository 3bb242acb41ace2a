from __future__ import annotations

import pytest

from metasched import ops, te
from metasched.schedule.primitives.reverse_compute_at import can_reverse_compute_at
from metasched.schedule.schedule import Schedule
from metasched.testing.round_trip import check_symbolic_replay
from tests.core.schedule.primitives.stages import (
    chain,
    check_valid,
    nested,
    overlapping,
    part_made,
    refuses,
    row_sums,
    scores,
    tiled,
    window,
)
from tests.core.schedule.programs import body, matmul, two_stages


def test_what_one_iteration_has_made() -> None:
    sch = Schedule(two_stages(6, 8))
    i, _ = sch.get_loops(sch.get_block("b"))
    outer, _ = sch.split(i, [3, 2])
    sch.reverse_compute_at(sch.get_block("c"), outer)
    assert body(sch) == (
        'b = alloc((6, 8), "float32")\n'
        "for i_0 in serial(3):\n"
        "    for i_1 in serial(2):\n"
        "        for j in serial(8):\n"
        '            with block("b"):\n'
        "                v_i = spatial(6, i_0 * 2 + i_1)\n"
        "                v_j = spatial(8, j)\n"
        "                reads(a[v_i, v_j])\n"
        "                writes(b[v_i, v_j])\n"
        "                b[v_i, v_j] = a[v_i, v_j] + float32(1.0)\n"
        "    for ax0 in serial(2):\n"
        "        for ax1 in serial(8):\n"
        '            with block("c"):\n'
        "                v_c_i = spatial(6, i_0 * 2 + ax0)\n"
        "                v_c_j = spatial(8, ax1)\n"
        "                reads(b[v_c_i, v_c_j])\n"
        "                writes(c[v_c_i, v_c_j])\n"
        "                c[v_c_i, v_c_j] = b[v_c_i, v_c_j] * float32(2.0)\n"
    )
    check_valid(sch)


@pytest.mark.parametrize("level", [0, 1])
def test_a_write_cache_at_both_levels(level: int) -> None:
    sch = Schedule(matmul(10, 7, 5))
    block = sch.get_block("c")
    parts = tiled(sch, block, [None, 2, 2], [None, 3, 2], [2, None])
    sch.reorder(parts[0][0], parts[1][0], parts[0][1], parts[1][1], parts[2][0])
    copy = sch.cache_write(block, 0, "local")
    sch.reverse_compute_at(copy, parts[1][level], preserve_unit_loops=True)
    check_valid(sch)


def test_what_follows_a_convolution() -> None:
    sch = Schedule(ops.conv2d_bias_relu(n=1, h=6, w=6, ci=2, co=4, k=3, s=1, p=1))
    for name in ("add_bias", "bn_mul", "bn_add"):
        sch.compute_inline(sch.get_block(name))
    block = sch.get_block("conv")
    factors = ([1, 1], [2, 3], [None, 4], [2, 2], [3, 1], [1, 3], [2, 1])
    parts = tiled(sch, block, *(list[int | None](f) for f in factors))
    sch.reverse_compute_at(sch.get_block("relu"), parts[3][0], preserve_unit_loops=True)
    check_valid(sch)


def test_a_reduction_of_what_was_made() -> None:
    sch = Schedule(ops.softmax(m=4, n=6))
    blocks = sch.get_child_blocks(sch.get_block("root"))
    row = sch.get_loops(blocks[0])[0]
    for block in blocks[1:]:
        sch.reverse_compute_at(block, row)
    assert len(sch.get_child_blocks(row)) == 4
    check_valid(sch)


def test_a_result_laid_out_by_quotient_and_remainder() -> None:
    sch = Schedule(ops.conv2d_transpose(n=1, h=4, w=4, ci=2, co=4, k=4, s=2, p=1))
    grids, out = sch.get_child_blocks(sch.get_block("root"))[1:]
    loops = sch.get_loops(grids)
    outer, inner = sch.split(loops[3], [2, 2])
    sch.reorder(outer, loops[1], loops[2], inner)
    sch.reverse_compute_at(out, outer)
    assert "v_out_i = spatial(8, i_0 * 4 + ax0)" in body(sch)
    check_valid(sch)


def test_first_and_last_position() -> None:
    a = te.placeholder((6,), "float32", name="a")
    b = te.compute((6,), lambda i: a[i] + 1.0, name="b")
    c = te.compute((6,), lambda i: b[i] * 2.0, name="c")
    d = te.compute((6,), lambda i: b[i] * 3.0, name="d")
    for index, order in ((-2, ["b", "d", "c"]), (-1, ["b", "c", "d"])):
        sch = Schedule(te.program([a, c, d]))
        (loop,) = sch.get_loops(sch.get_block("b"))
        sch.reverse_compute_at(sch.get_block("c"), loop)
        sch.reverse_compute_at(sch.get_block("d"), loop, index=index)
        assert [sch.value(x) for x in sch.get_child_blocks(loop)] == order
        check_valid(sch)


def test_locations_as_of_compute_at() -> None:
    sch = Schedule(two_stages())
    stay = sch.sample_compute_location(sch.get_block("b"), decision=-1)
    sch.reverse_compute_at(sch.get_block("c"), stay)
    inline = sch.sample_compute_location(sch.get_block("b"), decision=-2)
    sch.reverse_compute_at(sch.get_block("c"), inline)
    assert [sch.value(x) for x in sch.get_child_blocks(sch.get_block("root"))] == ["b"]
    check_valid(sch)


def test_tiles_that_stay_symbols() -> None:
    sch = Schedule(matmul(16, 24, 8), seed=3)
    block = sch.get_block("c")
    loops = sch.get_loops(block)
    tiles = [sch.sample_perfect_tile(x, n, 64) for x, n in zip(loops, (4, 4, 2), strict=True)]
    i, j, k = (sch.split(x, t) for x, t in zip(loops, tiles, strict=True))
    sch.reorder(i[0], j[0], i[1], j[1], k[0], i[2], j[2], k[1], i[3], j[3])
    copy = sch.cache_write(block, 0, "local")
    sch.reverse_compute_at(copy, j[1], preserve_unit_loops=True)
    packed = sch.reindex_cache_read(block, 1, "local", (2, 1))
    sch.compute_at(packed, k[0], preserve_unit_loops=True)
    sch.decompose_reduction(block, k[0])
    check_symbolic_replay(sch)
    check_valid(sch)


def test_requires_a_loop_in_the_scope_of_the_block() -> None:
    sch = Schedule(nested())
    rule = "expected a loop in the scope of the block, got 'x' inside block 'outer'"
    with refuses(sch, rule):
        sch.reverse_compute_at(sch.get_block("b"), sch.get_loops(sch.get_block("c"))[0])


def test_requires_a_loop_that_is_not_around_the_block() -> None:
    sch = Schedule(two_stages())
    block = sch.get_block("c")
    with refuses(sch, "expected a loop that is not around the block, got 'c_j'"):
        sch.reverse_compute_at(block, sch.get_loops(block)[1])


def test_requires_a_loop_that_is_not_vectorized() -> None:
    sch = Schedule(two_stages())
    _, j = sch.get_loops(sch.get_block("b"))
    sch.vectorize(j)
    with refuses(sch, "expected a loop that is not vectorized, got 'j'"):
        sch.reverse_compute_at(sch.get_block("c"), j)


def test_requires_a_complete_block_or_a_reduction() -> None:
    sch = Schedule(row_sums())
    s = sch.get_block("s")
    copy = sch.cache_read(s, 0, "local")
    sch.decompose_reduction(s, sch.get_loops(s)[1])
    with refuses(sch, "a complete block or a reduction, got 's', whose iteration 'v_k' is reduce"):
        sch.reverse_compute_at(s, sch.get_loops(copy)[0])


def test_requires_a_predicate_over_the_iterations_of_the_block() -> None:
    a = te.placeholder((3, 11), "float32", name="a")
    k = te.reduce_axis(11, name="k")
    s = te.compute((3,), lambda i: te.sum(a[i, k], axis=k), name="s")
    sch = Schedule(te.program([a, s]))
    block = sch.get_block("s")
    copy = sch.cache_read(block, 0, "local")
    outer, _ = sch.split(sch.get_loops(block)[1], [None, 4])
    partial = sch.rfactor(outer, 0)
    sch.split(sch.get_loops(partial)[1], [None, 2])
    with refuses(sch, "expected a predicate over the iterations of the block, got "):
        sch.reverse_compute_at(partial, sch.get_loops(copy)[0])


def test_requires_a_loop_around_a_producer_of_the_block() -> None:
    sch = Schedule(chain())
    with refuses(sch, "expected a loop around a producer of the block, got 'c_i'"):
        sch.reverse_compute_at(sch.get_block("b"), sch.get_loops(sch.get_block("c"))[0])


def test_requires_a_producer_that_makes_all_that_the_block_reads() -> None:
    sch = Schedule(part_made())
    loop = sch.get_loops(sch.get_block("b"))[0]
    rule = "a producer that makes all that the block reads, got 'b', which makes only a part"
    with refuses(sch, rule):
        sch.reverse_compute_at(sch.get_block("c"), loop)


def test_requires_an_index_between_the_last_producer_and_the_first_consumer() -> None:
    sch = Schedule(two_stages())
    loop = sch.get_loops(sch.get_block("b"))[0]
    rule = "the last producer and the first consumer, got index 0, where 1 to 1 would do"
    with refuses(sch, rule):
        sch.reverse_compute_at(sch.get_block("c"), loop, index=0)


def test_requires_producers_that_have_finished_what_the_block_reads() -> None:
    rule = "expected producers that have finished what the block reads, got "
    sch = Schedule(scores())
    _, _, r = sch.get_loops(sch.get_block("c"))
    with refuses(sch, rule + "'c', which is still reducing over 'v_r' there"):
        sch.reverse_compute_at(sch.get_block("d"), r)
    sch = Schedule(window(8, 3, 1))
    outer, _ = sch.split(sch.get_loops(sch.get_block("p"))[0], [5, 2])
    with refuses(sch, rule + "'p', which makes only a part of 'p' there"):
        sch.reverse_compute_at(sch.get_block("c"), outer)
    sch = Schedule(chain())
    with refuses(sch, rule + "'c', which comes later"):
        sch.reverse_compute_at(sch.get_block("d"), sch.get_loops(sch.get_block("b"))[0])


def test_requires_producers_that_have_finished_what_the_block_reads_without_gaps() -> None:
    sch = Schedule(two_stages(6, 8))
    _, j = sch.get_loops(sch.get_block("b"))
    outer, inner = sch.split(j, [2, 4])
    sch.reorder(inner, outer)
    with refuses(sch, "got 'b', which makes only a part of 'b' there"):
        sch.reverse_compute_at(sch.get_block("c"), inner)


def test_requires_consumers_for_which_the_block_has_finished_what_they_read() -> None:
    sch = Schedule(overlapping())
    _, x, _ = sch.get_loops(sch.get_block("p"))
    rule = "consumers for which the block has finished what they read, got 'b', which makes only "
    with refuses(sch, rule + "a part of 'b' there, when 'c' reads it"):
        sch.reverse_compute_at(sch.get_block("b"), x)


def test_the_reason_of_a_refusal() -> None:
    sch = Schedule(two_stages())
    i, _ = sch.get_loops(sch.get_block("b"))
    assert can_reverse_compute_at(sch.state, "c", str(sch.value(i))) is None
    reason = can_reverse_compute_at(sch.state, "b", str(sch.value(i)))
    assert reason == "expected a loop that is not around the block, got 'i'"
