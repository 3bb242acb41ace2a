from __future__ import annotations

from pathlib import Path

import pytest

from metasched.errors import VerifyError
from metasched.ir.hash import structural_equal
from metasched.ir.parser import parse
from metasched.ir.verify import verify
from metasched.schedule.schedule import Schedule
from tests.core.schedule.primitives.compiled import c_body, check_compiled
from tests.core.schedule.primitives.stages import chain, check_valid, refuses, scores
from tests.core.schedule.programs import body, copy, two_stages

pytestmark = pytest.mark.cc


def test_the_buffer_says_what_its_strides_are() -> None:
    sch = Schedule(two_stages(3, 5))
    sch.storage_align(sch.get_block("b"), 0, 0, 4, 1)
    assert body(sch).startswith('b = alloc((3, 5), "float32", align=((0, 4, 1),))\n')
    check_valid(sch)


def test_rows_are_apart_in_c(tmp_path: Path) -> None:
    sch = Schedule(two_stages(3, 5))
    sch.storage_align(sch.get_block("b"), 0, 0, 8, 1)
    assert c_body(sch) == (
        "  float b[27] __attribute__((aligned(64)));\n"
        "  for (int64_t i = 0; i < 3; ++i) {\n"
        "    *(f32x4_u *)&b[i * 9] = *(f32x4_u *)&a[i * 5] + ms_splat_f32x4(1.0f);\n"
        "    b[i * 9 + 4] = a[i * 5 + 4] + 1.0f;\n"
        "  }\n"
        "  for (int64_t c_i = 0; c_i < 3; ++c_i) {\n"
        "    *(f32x4_u *)&c[c_i * 5] = *(f32x4_u *)&b[c_i * 9] * ms_splat_f32x4(2.0f);\n"
        "    c[c_i * 5 + 4] = b[c_i * 9 + 4] * 2.0f;\n"
        "  }\n"
    )
    check_compiled(sch, tmp_path)


def test_each_axis_and_all_at_once(tmp_path: Path) -> None:
    sch = Schedule(two_stages(3, 5))
    block = sch.get_block("b")
    sch.storage_align(block, 0, -1, 2, 0)
    sch.storage_align(block, 0, 0, 16, 3)
    assert "align=((0, 16, 3), (1, 2, 0))" in body(sch)
    # Neighbours in a row are 2 apart, and 5 of them take 10, so rows are 19 apart.
    assert "float b[57]" in c_body(sch)
    check_valid(sch)
    check_compiled(sch, tmp_path)


def test_the_last_alignment_of_an_axis_counts() -> None:
    sch = Schedule(two_stages())
    block = sch.get_block("b")
    sch.storage_align(block, 0, 0, 16, 3)
    sch.storage_align(block, 0, 0, 32, 0)
    assert "align=((0, 32, 0),)" in body(sch)
    check_valid(sch)


@pytest.mark.parametrize("shape", [(1, 1), (7, 1), (1, 13), (11, 7)])
@pytest.mark.parametrize(("factor", "offset"), [(1, 0), (16, 0), (32, 1)])
def test_odd_shapes(shape: tuple[int, int], factor: int, offset: int, tmp_path: Path) -> None:
    sch = Schedule(two_stages(*shape))
    block = sch.get_block("b")
    sch.storage_align(block, 0, 0, factor, offset)
    outer = sch.get_loops(sch.get_block("c"))[0]
    sch.parallel(outer)
    check_valid(sch)
    check_compiled(sch, tmp_path)


def test_a_vector(tmp_path: Path) -> None:
    sch = Schedule(chain(11))
    sch.storage_align(sch.get_block("b"), 0, 0, 3, 0)
    assert "b[i * 3]" in c_body(sch)
    check_compiled(sch, tmp_path)


def test_the_part_that_a_tile_needs_is_aligned(tmp_path: Path) -> None:
    sch = Schedule(two_stages(6, 10))
    block = sch.get_block("b")
    sch.storage_align(block, 0, 0, 8, 1)
    i, j = sch.get_loops(sch.get_block("c"))
    i_0, i_1 = sch.split(i, [None, 3])
    j_0, j_1 = sch.split(j, [None, 5])
    sch.reorder(i_0, j_0, i_1, j_1)
    sch.compute_at(block, j_0)
    assert "float b[27]" in c_body(sch)
    check_valid(sch)
    check_compiled(sch, tmp_path)


def test_vectors_in_aligned_rows(tmp_path: Path) -> None:
    sch = Schedule(scores(5, 16, 7))
    block = sch.get_block("c")
    sch.storage_align(block, 0, 0, 32, 0)
    sch.set_scope(block, 0, "local")
    i, j, k = sch.get_loops(block)
    sch.reorder(i, k, j)
    sch.vectorize(j)
    sch.vectorize(sch.get_loops(sch.get_block("d"))[1])
    assert "align=((0, 32, 0),)" in body(sch)
    check_valid(sch)
    check_compiled(sch, tmp_path)


def test_gaps_make_another_program() -> None:
    sch = Schedule(two_stages())
    sch.storage_align(sch.get_block("b"), 0, 0, 16, 0)
    assert not structural_equal(sch.program, sch.original)
    assert parse(str(sch.program)) == sch.program


@pytest.mark.parametrize(
    ("align", "message"),
    [
        ("((2, 8, 0),)", r"aligned at the axes \[2\]"),
        ("((1, 8, 0), (1, 4, 0))", r"aligned at the axes \[1, 1\]"),
        ("((0, 0, 0),)", "aligned to a factor below 1"),
    ],
)
def test_the_verifier_checks_alignments(align: str, message: str) -> None:
    old = 'alloc((6, 8), "float32")'
    text = str(two_stages()).replace(old, f"{old[:-1]}, align={align})")
    with pytest.raises(VerifyError, match=message):
        verify(parse(text))


def test_parameters_are_dense() -> None:
    old = 'b: Buffer((4,), "float32"'
    text = str(copy(4)).replace(old, f"{old}, align=((0, 2, 0),)")
    with pytest.raises(VerifyError, match="parameter 'b' has gaps; parameters are dense"):
        verify(parse(text))


def test_the_buffer_by_its_name() -> None:
    named, numbered = Schedule(two_stages()), Schedule(two_stages())
    named.storage_align("b", "b", 0, 32, 1)
    numbered.storage_align("b", 0, 0, 32, 1)
    assert named.program == numbered.program
    check_valid(named)


@pytest.mark.parametrize("index", [-1, 1, "a"])
def test_requires_an_index_or_the_name_of_a_buffer_that_the_block_writes(index: int | str) -> None:
    sch = Schedule(two_stages())
    with refuses(sch, f"an index or the name of a buffer that the block writes, got {index!r} of "):
        sch.storage_align(sch.get_block("b"), index, 0, 8, 0)


def test_requires_an_intermediate_buffer() -> None:
    sch = Schedule(two_stages())
    with refuses(sch, "storage_align: expected an intermediate buffer, got the parameter 'c'"):
        sch.storage_align(sch.get_block("c"), 0, 0, 8, 0)


@pytest.mark.parametrize("axis", [2, -3])
def test_requires_an_axis_of_the_buffer(axis: int) -> None:
    sch = Schedule(two_stages())
    with refuses(sch, f"expected an axis of the buffer, got {axis} of 2"):
        sch.storage_align(sch.get_block("b"), 0, axis, 8, 0)


@pytest.mark.parametrize("factor", [0, -8])
def test_requires_a_factor_of_at_least_1(factor: int) -> None:
    sch = Schedule(two_stages())
    with refuses(sch, f"expected a factor of at least 1, got {factor}"):
        sch.storage_align(sch.get_block("b"), 0, 0, factor, 0)


@pytest.mark.parametrize("offset", [-1, 8])
def test_requires_an_offset_from_0_to_below_the_factor(offset: int) -> None:
    sch = Schedule(two_stages())
    with refuses(sch, f"expected an offset from 0 to below the factor 8, got {offset}"):
        sch.storage_align(sch.get_block("b"), 0, 0, 8, offset)
