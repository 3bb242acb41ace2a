from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import metasched as ms
from metasched import te
from metasched.errors import UsageError
from metasched.ir.expr import Expr
from metasched.ir.stmt import Program
from metasched.ir.verify import verify
from metasched.schedule.index_map import IndexMap
from metasched.schedule.schedule import Schedule
from metasched.testing.equivalence import check_equivalent
from metasched.testing.round_trip import check_round_trip
from tests.core.schedule.primitives.compiled import check_compiled
from tests.core.schedule.primitives.stages import (
    chain,
    check_valid,
    in_place,
    nested,
    part_made,
    refuses,
    scores,
    twice_written,
    window,
)
from tests.core.schedule.programs import body, copy, dynamic, matmul, two_stages


def tiles(i: Expr, j: Expr) -> list[Expr]:
    return [j // 4, i, j % 4]


def check_packed(sch: Schedule, layouts: Mapping[str, str], pad_value: float = 0.0) -> None:
    """As `check_valid`, where parameters come in other layouts."""
    verify(sch.program)
    check_round_trip(sch)
    maps = {name: IndexMap.parse(text) for name, text in layouts.items()}
    check_equivalent(sch.original, sch.program, layouts=maps, pad_value=pad_value)


def test_all_accesses_follow() -> None:
    sch = Schedule(two_stages(3, 8))
    sch.transform_layout(sch.get_block("b"), ("write", 0), tiles)
    assert body(sch) == (
        'b = alloc((2, 3, 4), "float32")\n'
        "for i in serial(3):\n"
        "    for j in serial(8):\n"
        '        with block("b"):\n'
        "            v_i = spatial(3, i)\n"
        "            v_j = spatial(8, j)\n"
        "            reads(a[v_i, v_j])\n"
        "            writes(b[v_j // 4, v_i, v_j % 4])\n"
        "            b[v_j // 4, v_i, v_j % 4] = a[v_i, v_j] + float32(1.0)\n"
        "for c_i in serial(3):\n"
        "    for c_j in serial(8):\n"
        '        with block("c"):\n'
        "            v_c_i = spatial(3, c_i)\n"
        "            v_c_j = spatial(8, c_j)\n"
        "            reads(b[v_c_j // 4, v_c_i, v_c_j % 4])\n"
        "            writes(c[v_c_i, v_c_j])\n"
        "            c[v_c_i, v_c_j] = b[v_c_j // 4, v_c_i, v_c_j % 4] * float32(2.0)\n"
    )
    check_valid(sch)


def test_a_plain_nest_makes_the_padding_along() -> None:
    sch = Schedule(two_stages(3, 7))
    sch.transform_layout(sch.get_block("c"), "b", tiles, pad_value=-1)
    assert body(sch).startswith(
        'b = alloc((2, 3, 4), "float32")\n'
        "for ax0 in serial(2):\n"
        "    for ax1 in serial(3):\n"
        "        for ax2 in serial(4):\n"
        '            with block("b"):\n'
        "                v_ax0 = spatial(2, ax0)\n"
        "                v_ax1 = spatial(3, ax1)\n"
        "                v_ax2 = spatial(4, ax2)\n"
        "                reads(a[v_ax1, v_ax0 * 4 + v_ax2])\n"
        "                writes(b[v_ax0, v_ax1, v_ax2])\n"
        "                b[v_ax0, v_ax1, v_ax2] = if_then_else(v_ax0 * 4 + v_ax2 < 7, "
        "a[v_ax1, v_ax0 * 4 + v_ax2] + float32(1.0), float32(-1.0))\n"
        "for c_i in serial(3):\n"
    )
    check_valid(sch)


def test_a_reduction_leaves_the_padding_to_a_nest_of_its_own() -> None:
    sch = Schedule(scores(5, 6, 4))
    sch.transform_layout(sch.get_block("c"), ("write", 0), lambda i, j: [i, j // 4, j % 4], 0)
    assert (
        '            with block("c_pad"):\n'
        "                v_ax0 = spatial(5, ax0)\n"
        "                v_ax1 = spatial(2, ax1)\n"
        "                v_ax2 = spatial(4, ax2)\n"
        "                where(6 <= ax1 * 4 + ax2)\n"
        "                writes(c[v_ax0, v_ax1, v_ax2])\n"
        "                c[v_ax0, v_ax1, v_ax2] = float32(0.0)\n"
    ) in body(sch)
    check_valid(sch)


PADDED: list[tuple[Program, str, str]] = [
    (two_stages(1, 1), "b", "i, j -> [j // 4, i, j % 4]"),
    (two_stages(5, 7), "b", "i, j -> [(i * 7 + j) // 4, (i * 7 + j) % 4]"),
    (two_stages(5, 13), "b", "i, j -> [j // 8, i // 2, j % 8, i % 2]"),
    (chain(13), "b", "i -> [(i + 3) // 4, (i + 3) % 4]"),
    (chain(11), "c", "i -> [i * 2]"),
    (window(11, 3, 2), "p", "i -> [i // 5, i % 5]"),
    (part_made(7), "b", "i -> [i // 4, i % 4]"),
    (nested(), "b", "i -> [i // 3, i % 3]"),
    (twice_written(), "b", "i -> [i // 3, i % 3]"),
    (scores(3, 7, 1), "c", "i, j -> [j // 4, i, j % 4]"),
]


@pytest.mark.parametrize(("program", "buffer", "text"), PADDED)
@pytest.mark.cc
def test_padded_layouts(program: Program, buffer: str, text: str, tmp_path: Path) -> None:
    sch = Schedule(program)
    block = next(
        b for b in sch.state.tree.blocks.values() if buffer in {r.buffer.name for r in b.writes}
    )
    sch.transform_layout(sch.get_block(block.name), buffer, text, pad_value=3)
    check_valid(sch)
    check_compiled(sch, tmp_path)


def test_every_place_of_padding_holds_the_value() -> None:
    for program in (copy(5, 7), matmul(5, 7, 3)):
        sch = Schedule(program)
        name = program.outputs[0].name
        text = "i, j -> [j // 4, (i + 1) // 3, j % 4, (i + 1) % 3]"
        sch.transform_layout(sch.get_block(name), name, text, pad_value=7.5)
        check_packed(sch, {name: text}, pad_value=7.5)


def test_a_pad_value_over_the_new_indices() -> None:
    sch = Schedule(two_stages(3, 7))
    sch.transform_layout(sch.get_block("b"), "b", tiles, pad_value="x, y, z -> [x * 10 + z]")
    assert 'cast(v_ax0 * 10 + v_ax2, "float32"))' in body(sch)
    check_valid(sch)


@pytest.mark.cc
def test_whole_pad_values_over_the_lanes_of_vectors(tmp_path: Path) -> None:
    a = te.placeholder((13,), "int32", name="a")
    b = te.compute((13,), lambda i: a[i] + 1, name="b")
    c = te.compute((13,), lambda i: b[i] * 2, name="c")
    sch = Schedule(te.program([a, c], name="whole"))
    block = sch.get_block("b")
    sch.transform_layout(block, "b", "i -> [i // 8, i % 8]", pad_value="x, y -> [y]")
    sch.vectorize(sch.get_loops(block)[1])
    check_valid(sch)
    check_compiled(sch, tmp_path)


def test_a_parallel_nest_keeps_its_loops() -> None:
    sch = Schedule(two_stages(5, 7))
    block = sch.get_block("b")
    sch.parallel(sch.get_loops(block)[0])
    sch.transform_layout(block, "b", tiles, pad_value=0)
    assert "for i in parallel(5):" in body(sch)
    assert 'with block("b_pad"):' in body(sch)
    check_valid(sch)


def test_regions_of_whole_tiles() -> None:
    sch = Schedule(nested())
    sch.transform_layout(sch.get_block("b"), "b", "i -> [i // 2, i % 2]")
    assert "reads(b[v_o * 2:v_o * 2 + 2, 0:2])" in body(sch)
    check_valid(sch)


def test_tiled_loops_simplify_the_indices() -> None:
    sch = Schedule(two_stages(3, 8))
    block = sch.get_block("b")
    sch.transform_block_layout(block, "i, j -> [j // 4, i, j % 4]")
    sch.transform_layout(block, "b", tiles)
    assert "b[v_ax0, v_ax1, v_ax2] = a[v_ax1, v_ax0 * 4 + v_ax2] + float32(1.0)" in body(sch)
    check_valid(sch)


@pytest.mark.parametrize("sizes", [(8, 12, 4), (5, 7, 3), (1, 1, 1)])
def test_parameters_come_in_the_new_layout(sizes: tuple[int, int, int]) -> None:
    sch = Schedule(matmul(*sizes))
    block = sch.get_block("c")
    layouts = {"b": "k, j -> [j // 4, k, j % 4]", "c": "i, j -> [i, j // 4, j % 4]"}
    for name, text in layouts.items():
        sch.transform_layout(block, name, text, pad_value=0)
    assert [len(p.shape) for p in sch.program.params] == [2, 3, 3]
    check_packed(sch, layouts)


def test_a_program_that_updates_a_parameter_in_place() -> None:
    sch = Schedule(in_place(6))
    sch.transform_layout(sch.get_block("c"), ("read", 0), "i -> [i // 4, i % 4]", pad_value=2)
    check_packed(sch, {"c": "i -> [i // 4, i % 4]"}, pad_value=2)


@pytest.mark.cc
def test_compiled_with_packed_arrays() -> None:
    sch = Schedule(matmul(5, 7, 3))
    sch.transform_layout(sch.get_block("c"), "b", "k, j -> [j // 4, k, j % 4]", pad_value=0)
    kernel = ms.compile(sch)
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((5, 3), (3, 7)))
    packed = IndexMap.parse("k, j -> [j // 4, k, j % 4]").map_array(b)
    np.testing.assert_allclose(kernel(a, packed), a @ b, rtol=1e-5, atol=1e-6)


def test_size_known_at_run_time() -> None:
    sch = Schedule(dynamic())
    sch.transform_layout(sch.get_block("b"), "b", "i -> [i // 4, i % 4]", pad_value=0)
    assert 'b: Buffer(((n + 3) // 4, 4), "float32")' in str(sch.program)
    assert "if_then_else(v_ax0 * 4 + v_ax1 < n, a[v_ax0 * 4 + v_ax1] + " in body(sch)
    verify(sch.program)
    check_round_trip(sch)


def test_a_map_whose_inverse_is_not_found() -> None:
    sch = Schedule(two_stages(3, 8))
    text = "i, j -> [min(i, 2), max(j, 0)]"
    with refuses(sch, "a map that gives each element a place of its own, got 'i, j -> [min(i, 2)"):
        sch.transform_layout(sch.get_block("b"), "b", text)
    sch.transform_layout(sch.get_block("b"), "b", text, assume_injective_transform=True)
    check_valid(sch)
    with refuses(sch, "a map that gives each element a place of its own, got 'i, j -> [min(i, 2)"):
        sch.transform_layout(
            sch.get_block("b"), "b", text, pad_value=0, assume_injective_transform=True
        )


def test_requires_read_or_write_with_an_index_or_a_name() -> None:
    sch = Schedule(two_stages())
    with refuses(sch, 'expected "read" or "write" with an index, or a name, got'):
        sch.transform_layout(sch.get_block("b"), ("writes", 0), tiles)


def test_requires_an_index_or_the_name_of_a_buffer_that_the_block_reads() -> None:
    sch = Schedule(two_stages())
    with refuses(sch, "an index or the name of a buffer that the block writes, got 1 of 1"):
        sch.transform_layout(sch.get_block("b"), ("write", 1), tiles)
    with refuses(sch, "an index or the name of a buffer that the block reads, got 'c' of a"):
        sch.transform_layout(sch.get_block("b"), "c", tiles)


def test_requires_a_buffer_without_padded_strides() -> None:
    sch = Schedule(two_stages(3, 8))
    sch.storage_align(sch.get_block("b"), 0, 0, 16, 1)
    with refuses(sch, "expected a buffer without padded strides, got 'b'"):
        sch.transform_layout(sch.get_block("b"), "b", tiles)


def test_requires_an_index_map() -> None:
    sch = Schedule(two_stages())
    with refuses(sch, "expected an index map, got an index map has no index 'k'; known: i, j"):
        sch.transform_layout(sch.get_block("b"), "b", "i, j -> [k]")


def test_requires_an_index_map_with_one_index_for_each_dimension() -> None:
    sch = Schedule(two_stages())
    with refuses(sch, "expected an index map with one index for each dimension, got 1 for 2"):
        sch.transform_layout(sch.get_block("b"), "b", "i -> [i]")


def test_requires_a_map_into_a_shape_that_is_known() -> None:
    sch = Schedule(two_stages(3, 8))
    with refuses(sch, "expected a map into a shape that is known, got the index i - 1 may be neg"):
        sch.transform_layout(sch.get_block("b"), "b", "i, j -> [i - 1, j]")


def test_requires_a_map_that_gives_each_element_a_place_of_its_own() -> None:
    sch = Schedule(two_stages(3, 8))
    with refuses(sch, "expected a map that gives each element a place of its own, got 'i, j -> [i"):
        sch.transform_layout(sch.get_block("b"), "b", "i, j -> [i + j]")


def test_requires_a_pad_value_where_the_map_leaves_padding() -> None:
    sch = Schedule(two_stages(3, 7))
    with refuses(sch, "expected a pad value where the map leaves padding, got none where 7 <= ax0"):
        sch.transform_layout(sch.get_block("b"), "b", tiles)


@pytest.mark.parametrize(
    ("dtype", "value", "given"),
    [
        ("int8", 300, "300 for int8"),
        ("int8", 0.5, "0.5 for int8"),
        ("uint8", -1, "-1 for uint8"),
        ("float32", float("inf"), "inf, which traces cannot hold"),
        ("float32", "i -> [i]", "'i -> [i]', which is no map of 2 indices to 1"),
        ("float32", "zero", "'zero' is no index map"),
    ],
)
def test_requires_a_pad_value_that_the_buffer_can_hold(dtype: str, value: Any, given: str) -> None:
    a = te.placeholder((6,), dtype, name="a")
    b = te.compute((6,), lambda i: a[i], name="b")
    sch = Schedule(te.program([a, b], name="typed"))
    with refuses(sch, f"expected a pad value that the buffer can hold, got {given}"):
        sch.transform_layout(sch.get_block("b"), "b", "i -> [i // 4, i % 4]", pad_value=value)


def test_a_function_needs_no_names() -> None:
    sch = Schedule(two_stages(3, 8))
    sch.transform_layout(sch.get_block("b"), "b", lambda *i: [*reversed(i)])
    assert 'b = alloc((8, 3), "float32")' in body(sch)
    with pytest.raises(UsageError, match="a text such as"):
        sch.transform_layout(sch.get_block("b"), "b", 5)  # type: ignore[arg-type]
