from __future__ import annotations

import pytest

from metasched import ops, te
from metasched.schedule.schedule import Schedule
from tests.core.schedule.primitives.stages import (
    check_valid,
    gathered,
    nested,
    refuses,
    scores,
    tiled,
    window,
)
from tests.core.schedule.programs import body, dynamic


def test_an_operand_in_the_order_of_the_inner_loops() -> None:
    sch = Schedule(scores(2, 6, 4))
    made = sch.reindex_cache_read(sch.get_block("c"), 1, "local", (2, 1))
    assert sch.value(made) == "b_local"
    assert body(sch).startswith(
        'c = alloc((2, 6), "float32")\n'
        'b_local = alloc((4, 6), "float32", scope="local")\n'
        "for ax0 in serial(4):\n"
        "    for ax1 in serial(6):\n"
        '        with block("b_local"):\n'
        "            v_ax0 = spatial(4, ax0)\n"
        "            v_ax1 = spatial(6, ax1)\n"
        "            reads(b[v_ax1, v_ax0])\n"
        "            writes(b_local[v_ax0, v_ax1])\n"
        "            b_local[v_ax0, v_ax1] = b[v_ax1, v_ax0]\n"
        "for i in serial(2):\n"
    )
    assert "c[v_i, v_j] + a[v_i, v_r] * b_local[v_r, v_j]" in body(sch)
    check_valid(sch)


def test_a_panel_in_the_tile_that_reads_it() -> None:
    sch = Schedule(scores(4, 12, 6))
    block = sch.get_block("c")
    _, (_, _), (outer, _) = tiled(sch, block, [2, 2], [3, 4], [2, 3])
    packed = sch.reindex_cache_read(block, 1, "local", (2, 1))
    sch.compute_at(packed, outer, preserve_unit_loops=True)
    assert "for ax1_1 in serial(4):" in body(sch)
    check_valid(sch)


def test_an_image_to_columns() -> None:
    sch = Schedule(ops.conv2d(n=1, h=5, w=5, ci=2, co=3, k=3, s=2, p=1))
    sch.reindex_cache_read(sch.get_block("conv"), 0, "global", (1, 2, 4, 5, 6, 0))
    check_valid(sch)


def test_a_guarded_read_over_the_edges() -> None:
    sch = Schedule(window(5))
    sch.reindex_cache_read(sch.get_block("p"), 0, "local", (0,))
    assert "if_then_else(0 <= v_ax0 - 1 and v_ax0 - 1 < 5, a[v_ax0 - 1]" in body(sch)
    check_valid(sch)


def test_more_iterations_than_the_read_depends_on() -> None:
    sch = Schedule(scores(3, 4, 2))
    sch.reindex_cache_read(sch.get_block("c"), 1, "local", (0, 2, 1))
    check_valid(sch)


def test_an_index_map_as_a_text() -> None:
    sch = Schedule(scores(2, 6, 4))
    sch.reindex_cache_read(sch.get_block("c"), "b", "local", "i, j, k -> [j // 4, k, j % 4]")
    text = body(sch)
    assert 'b_local = alloc((2, 4, 4), "float32", scope="local")' in text
    assert "b_local[v_ax0 // 4, v_ax1, v_ax0 % 4] = b[v_ax0, v_ax1]" in text
    assert "a[v_i, v_r] * b_local[v_j // 4, v_r, v_j % 4]" in text
    check_valid(sch)


def test_an_index_map_as_a_function_is_a_text_in_the_trace() -> None:
    sch = Schedule(scores(2, 6, 4))
    sch.reindex_cache_read(sch.get_block("c"), 1, "local", lambda i, j, k: [k, j])
    assert '"i, j, k -> [k, j]"' in sch.trace.as_python()
    check_valid(sch)


def test_iterations_of_extent_1_need_no_place() -> None:
    sch = Schedule(ops.conv2d(n=1, h=5, w=5, ci=2, co=3, k=1, s=1, p=0))
    block = sch.get_block("conv")
    count = len(sch.state.block("conv").iters)
    names = ", ".join(f"i{k}" for k in range(count))
    sch.reindex_cache_read(block, 0, "global", f"{names} -> [i1, i2, i6]")
    check_valid(sch)


def test_size_known_at_run_time() -> None:
    sch = Schedule(dynamic())
    sch.reindex_cache_read(sch.get_block("b"), 0, "local", lambda i: [i // 4, i % 4])
    check_valid(sch, n=5)


def test_requires_a_known_storage_scope() -> None:
    sch = Schedule(scores())
    with refuses(sch, "expected a known storage scope, got 'fast', none of global, local, "):
        sch.reindex_cache_read(sch.get_block("c"), 1, "fast", (2, 1))


def test_requires_an_index_or_the_name_of_a_buffer_that_the_block_reads() -> None:
    sch = Schedule(scores())
    with refuses(sch, "an index or the name of a buffer that the block reads, got 2 of 2"):
        sch.reindex_cache_read(sch.get_block("c"), 2, "local", (2, 1))


def test_requires_a_buffer_that_is_finished_before_the_first_nest_that_reads_it() -> None:
    sch = Schedule(scores())
    d = sch.get_block("d")
    sch.reverse_compute_at(d, sch.get_loops(sch.get_block("c"))[0])
    with refuses(sch, "a buffer that is finished before the first nest that reads it, got 'c'"):
        sch.reindex_cache_read(d, 0, "local", (0, 1))


def test_requires_a_buffer_that_the_block_accesses_at_one_place() -> None:
    a = te.placeholder((6,), "float32", name="a")
    c = te.compute((5,), lambda i: a[i] + a[i + 1], name="c")
    sch = Schedule(te.program([a, c]))
    with refuses(sch, "a buffer that the block accesses at one place, got 2 places of 'a'"):
        sch.reindex_cache_read(sch.get_block("c"), 0, "local", (0,))


def test_requires_a_block_without_loops_or_blocks_inside() -> None:
    sch = Schedule(nested())
    with refuses(sch, "a block without loops or blocks inside, got loop 'x'"):
        sch.reindex_cache_read(sch.get_block("outer"), 0, "local", "i -> [i]")


@pytest.mark.parametrize("index_map", ["i, j", "i, j, k -> [z]", "i, j, k -> [a[i]]", "-> i"])
def test_requires_an_index_map(index_map: str) -> None:
    sch = Schedule(scores())
    with refuses(sch, "expected an index map, got "):
        sch.reindex_cache_read(sch.get_block("c"), 1, "local", index_map)


def test_requires_an_index_map_with_one_index_for_each_iteration() -> None:
    sch = Schedule(scores())
    with refuses(sch, "an index map with one index for each iteration, got 2 for 3"):
        sch.reindex_cache_read(sch.get_block("c"), 1, "local", "i, j -> [j]")


def test_requires_an_index_map_to_indices_of_a_known_range() -> None:
    sch = Schedule(scores())
    with refuses(sch, "an index map to indices of a known range, got "):
        sch.reindex_cache_read(sch.get_block("c"), 1, "local", "i, j, k -> [j - k, k]")


@pytest.mark.parametrize("positions", [(2, 3), (-1, 1)])
def test_requires_positions_of_the_blocks_iterations(positions: tuple[int, ...]) -> None:
    sch = Schedule(scores())
    with refuses(sch, f"positions of the block's iterations, got {positions} of 3"):
        sch.reindex_cache_read(sch.get_block("c"), 1, "local", positions)


@pytest.mark.parametrize(
    ("index_map", "given"),
    [
        ((2,), "[v_r], without 'v_j'"),
        ((1, 1, 2), "[v_j, v_j, v_r]"),
        ("i, j, k -> [k]", "[v_r], without 'v_j'"),
        ("i, j, k -> [j // 2, k]", "[v_j // 2, v_r]"),
        ("i, j, k -> [j + k]", "[v_j + v_r]"),
        ("i, j, k -> [j % 4, k]", "[v_j % 4, v_r]"),
    ],
)
def test_requires_a_place_of_its_own_for_each_of_the_iterations_of_the_access(
    index_map: str | tuple[int, ...], given: str
) -> None:
    sch = Schedule(scores())
    rule = "a place of its own for each of the iterations that the access depends on"
    with refuses(sch, f"{rule}, got {given}"):
        sch.reindex_cache_read(sch.get_block("c"), 1, "local", index_map)


def test_requires_indices_that_read_nothing() -> None:
    sch = Schedule(gathered())
    with refuses(sch, "indices that read nothing, got a["):
        sch.reindex_cache_read(sch.get_block("b"), "a", "local", (0,))
