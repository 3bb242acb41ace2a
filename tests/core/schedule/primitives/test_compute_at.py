from __future__ import annotations

from math import prod

import pytest

from metasched import ops, te
from metasched.ir.expr import int_value
from metasched.schedule.primitives.compute_at import can_compute_at
from metasched.schedule.schedule import Schedule
from metasched.testing.round_trip import check_symbolic_replay
from metasched.trace.instruction import Ref
from tests.core.schedule.primitives.stages import (
    chain,
    check_valid,
    nested,
    overlapping,
    refuses,
    row_sums,
    scores,
    tiled,
    twice_written,
    window,
)
from tests.core.schedule.programs import body, two_stages


def test_what_one_iteration_needs() -> None:
    sch = Schedule(chain(12))
    sch.compute_inline(sch.get_block("b"))
    outer, _ = sch.split(sch.get_loops(sch.get_block("d"))[0], [3, 4])
    sch.compute_at(sch.get_block("c"), outer)
    assert body(sch) == (
        'c = alloc((12,), "float32")\n'
        "for d_i_0 in serial(3):\n"
        "    for ax0 in serial(4):\n"
        '        with block("c"):\n'
        "            v_c_i = spatial(12, d_i_0 * 4 + ax0)\n"
        "            reads(a[v_c_i])\n"
        "            writes(c[v_c_i])\n"
        "            c[v_c_i] = (a[v_c_i] + float32(1.0)) * float32(2.0)\n"
        "    for d_i_1 in serial(4):\n"
        '        with block("d"):\n'
        "            v_d_i = spatial(12, d_i_0 * 4 + d_i_1)\n"
        "            reads(c[v_d_i], a[v_d_i])\n"
        "            writes(d[v_d_i])\n"
        "            d[v_d_i] = c[v_d_i] - (a[v_d_i] + float32(1.0))\n"
    )
    check_valid(sch)


def test_the_tile_of_a_strided_window_overlaps() -> None:
    sch = Schedule(window(n=31, k=3, s=2))
    outer, _ = sch.split(sch.get_loops(sch.get_block("c"))[0], [4, 4])
    sch.compute_at(sch.get_block("p"), outer)
    assert "for ax0 in serial(9):" in body(sch)
    assert "v_i = spatial(33, c_i_0 * 8 + ax0)" in body(sch)
    assert "where" not in body(sch)
    check_valid(sch)


def test_padding_of_a_convolution_tile() -> None:
    sch = Schedule(ops.conv2d(n=1, h=9, w=8, ci=2, co=4, k=3, s=2, p=1))
    block = sch.get_block("conv")
    parts = tiled(sch, block, [1, 1], [None, 2], [None, 3], [2, 2], [3, 1], [3, 1], [1, 2])
    sch.compute_at(sch.get_block("pad"), parts[3][0], preserve_unit_loops=True)
    check_valid(sch)


def test_surplus_of_a_split_is_guarded() -> None:
    sch = Schedule(two_stages(5, 13))
    outer, _ = sch.split(sch.get_loops(sch.get_block("c"))[1], [None, 4])
    sch.compute_at(sch.get_block("b"), outer)
    assert "where(c_j_0 * 4 + ax0 < 13)" in body(sch)
    check_valid(sch)


def test_unit_loops_on_request() -> None:
    for keep in (True, False):
        sch = Schedule(two_stages(4, 6))
        _, j = sch.get_loops(sch.get_block("c"))
        sch.compute_at(sch.get_block("b"), j, preserve_unit_loops=keep)
        assert body(sch).count("for ax") == (2 if keep else 0)
        check_valid(sch)


def test_a_reduction_is_computed_whole() -> None:
    sch = Schedule(row_sums(4, 9))
    sch.compute_at(sch.get_block("s"), sch.get_loops(sch.get_block("d"))[0])
    assert "v_k = reduce(9, ax0)" in body(sch)
    check_valid(sch)


def test_under_a_reduction_loop() -> None:
    sch = Schedule(ops.conv1d(n=1, l=9, ci=2, co=3, k=3, s=1, p=1))
    block = sch.get_block("conv")
    loops = sch.get_loops(block)
    for loop in loops:
        fresh = Schedule(sch.program)
        target = next(
            x for x in fresh.get_loops(fresh.get_block("conv")) if fresh.value(x) == sch.value(loop)
        )
        fresh.compute_at(fresh.get_block("pad"), target)
        check_valid(fresh)


def test_several_consumers() -> None:
    sch = Schedule(chain(11))
    outer, _ = sch.split(sch.get_loops(sch.get_block("d"))[0], [None, 4])
    sch.compute_at(sch.get_block("c"), outer)
    sch.compute_at(sch.get_block("b"), outer)
    check_valid(sch)


def test_all_stages_in_one_tile() -> None:
    sch = Schedule(ops.softmax(m=5, n=7))
    last = sch.get_output_blocks(sch.get_block("root"))[0]
    row = sch.get_loops(last)[0]
    for block in reversed(sch.get_child_blocks(sch.get_block("root"))):
        if sch.value(block) != sch.value(last):
            sch.compute_at(block, row, preserve_unit_loops=True)
    assert len(sch.get_child_blocks(row)) == 4
    check_valid(sch)


def test_positions_in_the_loop() -> None:
    a = te.placeholder((6,), "float32", name="a")
    b = te.compute((6,), lambda i: a[i] + 1.0, name="b")
    c = te.compute((6,), lambda i: a[i] * 2.0, name="c")
    d = te.compute((6,), lambda i: b[i] + c[i], name="d")
    for index, order in ((-1, ["c", "b", "d"]), (-2, ["b", "c", "d"]), (1, ["c", "b", "d"])):
        sch = Schedule(te.program([a, d]))
        (loop,) = sch.get_loops(sch.get_block("d"))
        sch.compute_at(sch.get_block("c"), loop)
        sch.compute_at(sch.get_block("b"), loop, index=index)
        assert [sch.value(x) for x in sch.get_child_blocks(loop)] == order
        check_valid(sch)


def test_locations_that_are_sampled() -> None:
    for decision, blocks in ((-2, ["c", "d"]), (-1, ["b", "c", "d"])):
        sch = Schedule(chain(5))
        block = sch.get_block("b")
        location = sch.sample_compute_location(block, decision=decision)
        sch.compute_at(block, location)
        assert [sch.value(x) for x in sch.get_child_blocks(sch.get_block("root"))] == blocks
        check_valid(sch)


def test_size_known_at_run_time() -> None:
    n = te.var("n")
    a = te.placeholder((n,), "float32", name="a")
    b = te.compute((n,), lambda i: a[i] + 1.0, name="b")
    c = te.compute((n,), lambda i: b[i] * 2.0, name="c")
    sch = Schedule(te.program([a, c]))
    outer, _ = sch.split(sch.get_loops(sch.get_block("c"))[0], [None, 4])
    sch.compute_at(sch.get_block("b"), outer)
    assert "for ax0 in serial(4):" in body(sch)
    check_valid(sch, n=7)


def test_tiles_that_stay_symbols() -> None:
    sch = Schedule(ops.conv1d(n=1, l=16, ci=4, co=8, k=3, s=2, p=1), seed=1)
    block = sch.get_block("conv")
    loops = sch.get_loops(block)
    tiles = [sch.sample_perfect_tile(x, 2, 64) for x in loops]
    parts = [sch.split(x, t) for x, t in zip(loops, tiles, strict=True)]
    sch.reorder(*(p[0] for p in parts), *(p[1] for p in parts))
    sch.compute_at(sch.get_block("pad"), parts[2][0], preserve_unit_loops=True)
    check_symbolic_replay(sch)
    check_valid(sch)


def test_requires_a_loop_in_the_scope_of_the_block() -> None:
    sch = Schedule(nested())
    inner = sch.get_loops(sch.get_block("c"))[0]
    with refuses(sch, "expected a loop in the scope of the block, got 'x' inside block 'outer'"):
        sch.compute_at(sch.get_block("b"), inner)
    sch.compute_at(sch.get_block("b"), sch.get_loops(sch.get_block("outer"))[0])
    check_valid(sch)


def test_requires_a_loop_that_is_not_around_the_block() -> None:
    sch = Schedule(two_stages())
    block = sch.get_block("b")
    with refuses(sch, "expected a loop that is not around the block, got 'i'"):
        sch.compute_at(block, sch.get_loops(block)[0])


def test_requires_a_loop_that_is_not_vectorized() -> None:
    sch = Schedule(two_stages())
    _, j = sch.get_loops(sch.get_block("c"))
    sch.vectorize(j)
    with refuses(sch, "expected a loop that is not vectorized, got 'c_j'"):
        sch.compute_at(sch.get_block("b"), j)


def test_requires_a_complete_block_or_a_reduction() -> None:
    rule = "expected a complete block or a reduction, got "
    sch = Schedule(scores())
    block, d = sch.get_block("c"), sch.get_block("d")
    sch.decompose_reduction(block, sch.get_loops(block)[2])
    with refuses(sch, rule + "'c', whose iteration 'v_r' is reduce"):
        sch.compute_at(block, sch.get_loops(d)[0])
    sch = Schedule(twice_written())
    with refuses(sch, rule + "'low', which shares the writing of 'b' with 'high'"):
        sch.compute_at(sch.get_block("low"), sch.get_loops(sch.get_block("c"))[0])


def test_requires_a_predicate_over_the_iterations_of_the_block() -> None:
    a = te.placeholder((11,), "float32", name="a")
    k = te.reduce_axis(11, name="k")
    s = te.compute((1,), lambda i: te.sum(a[k], axis=k), name="s")
    d = te.compute((1,), lambda i: s[i] * 2.0, name="d")
    sch = Schedule(te.program([a, d]))
    block = sch.get_block("s")
    outer, _ = sch.split(sch.get_loops(block)[1], [None, 4])
    partial = sch.rfactor(outer, 0)
    _, outer, _ = sch.get_loops(partial)
    sch.split(outer, [None, 2])
    rule = "a predicate over the iterations of the block, got "
    with refuses(sch, rule):
        sch.compute_at(partial, sch.get_loops(block)[0])


def test_a_predicate_over_iterations_moves_along() -> None:
    a = te.placeholder((3, 11), "float32", name="a")
    k = te.reduce_axis(11, name="k")
    s = te.compute((3,), lambda i: te.sum(a[i, k], axis=k), name="s")
    sch = Schedule(te.program([a, s]))
    block = sch.get_block("s")
    outer, _ = sch.split(sch.get_loops(block)[1], [None, 4])
    partial = sch.rfactor(outer, 0)
    sch.compute_at(partial, sch.get_loops(block)[1])
    assert "where(" in body(sch)
    check_valid(sch)


def test_requires_a_block_whose_result_is_not_an_output() -> None:
    sch = Schedule(two_stages())
    with refuses(sch, "expected a block whose result is not an output, got 'c'"):
        sch.compute_at(sch.get_block("c"), sch.get_loops(sch.get_block("b"))[0])


def test_requires_a_loop_around_all_consumers_of_the_block() -> None:
    sch = Schedule(chain())
    with refuses(sch, "a loop around all consumers of the block, got 'd' outside of 'c_i'"):
        sch.compute_at(sch.get_block("b"), sch.get_loops(sch.get_block("c"))[0])


@pytest.mark.parametrize("index", [1, 2, -3])
def test_requires_an_index_between_the_last_producer_and_the_first_consumer(index: int) -> None:
    sch = Schedule(two_stages())
    loop = sch.get_loops(sch.get_block("c"))[0]
    rule = f"last producer and the first consumer, got index {index}, where 0 to 0 would do"
    with refuses(sch, rule):
        sch.compute_at(sch.get_block("b"), loop, index=index)


def test_requires_producers_that_have_finished_what_the_block_reads() -> None:
    sch = Schedule(overlapping())
    loop = sch.get_loops(sch.get_block("c"))[1]
    rule = "producers that have finished what the block reads, got 'p', which makes only a part"
    with refuses(sch, rule):
        sch.compute_at(sch.get_block("b"), loop)


def test_the_reason_of_a_refusal() -> None:
    sch = Schedule(two_stages())
    loop = str(sch.value(sch.get_loops(sch.get_block("c"))[0]))
    assert can_compute_at(sch.state, "b", loop) is None
    reason = can_compute_at(sch.state, "c", loop)
    assert reason == "expected a loop that is not around the block, got 'c_i'"


def on_threads(scope: str, seed: int) -> tuple[Schedule, Ref]:
    """A tiled product with a cache of its first operand, and the copy that fills it."""
    sch = Schedule(ops.matmul(m=16, n=24, k=12), seed=seed)
    block = sch.get_block("c")
    (i0, i1, i2, i3), (j0, j1, j2, j3), (k0, k1) = (
        sch.split(loop, sch.sample_perfect_tile(loop, parts))
        for loop, parts in zip(sch.get_loops(block), (4, 4, 2), strict=True)
    )
    sch.reorder(i0, j0, i1, j1, i2, j2, k0, k1, i3, j3)
    axes = ("blockIdx.x", "vthread.x", "threadIdx.x")
    levels = [sch.fuse(*pair) for pair in ((i0, j0), (i1, j1), (i2, j2))]
    for loop, axis in zip(levels, axes, strict=True):
        sch.bind(loop, axis)
    written = sch.cache_write(block, 0, "local")
    sch.reverse_compute_at(written, levels[-1], preserve_unit_loops=True)
    copy = sch.cache_read(block, 0, scope)
    sch.compute_at(copy, k0, preserve_unit_loops=True)
    return sch, copy


@pytest.mark.parametrize("seed", range(4))
def test_threads_together_fill_a_shared_cache(seed: int) -> None:
    rows: dict[str, int | None] = {}
    for scope in ("shared", "local"):
        sch, copy = on_threads(scope, seed)
        row = sch.state.loops_above(sch.state.block(str(sch.value(copy))))[-2]
        rows[scope] = int_value(row.extent)
        check_valid(sch)
        check_symbolic_replay(sch)
    factors = next(d for d in sch.trace.decisions.values() if isinstance(d, tuple))
    assert rows == {"shared": prod(factors[1:]), "local": factors[3]}
