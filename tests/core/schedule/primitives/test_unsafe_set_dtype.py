from __future__ import annotations

from pathlib import Path

import pytest

from metasched.schedule.schedule import Schedule
from tests.core.schedule.primitives.compiled import check_compiled
from tests.core.schedule.primitives.stages import (
    chain,
    check_valid,
    refuses,
    row_sums,
    scores,
    twice_written,
)
from tests.core.schedule.programs import body, copy, dynamic, two_stages

TOLERANCE = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-6, "float64": 1e-6, "int32": 1e-6}


def test_writes_and_reads_are_cast() -> None:
    sch = Schedule(two_stages(1, 3))
    sch.unsafe_set_dtype(sch.get_block("b"), 0, "float16")
    assert body(sch) == (
        'b = alloc((1, 3), "float16")\n'
        "for i in serial(1):\n"
        "    for j in serial(3):\n"
        '        with block("b"):\n'
        "            v_i = spatial(1, i)\n"
        "            v_j = spatial(3, j)\n"
        "            reads(a[v_i, v_j])\n"
        "            writes(b[v_i, v_j])\n"
        '            b[v_i, v_j] = cast(a[v_i, v_j] + float32(1.0), "float16")\n'
        "for c_i in serial(1):\n"
        "    for c_j in serial(3):\n"
        '        with block("c"):\n'
        "            v_c_i = spatial(1, c_i)\n"
        "            v_c_j = spatial(3, c_j)\n"
        "            reads(b[v_c_i, v_c_j])\n"
        "            writes(c[v_c_i, v_c_j])\n"
        '            c[v_c_i, v_c_j] = cast(b[v_c_i, v_c_j], "float32") * float32(2.0)\n'
    )
    check_valid(sch)


@pytest.mark.cc
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("n", [1, 13, 64])
def test_results_within_the_tolerance_of_the_type(dtype: str, n: int, tmp_path: Path) -> None:
    sch = Schedule(chain(n))
    sch.unsafe_set_dtype(sch.get_block("b"), 0, dtype)
    assert f'b = alloc(({n},), "{dtype}")' in body(sch)
    check_valid(sch)
    check_compiled(sch, tmp_path, rtol=TOLERANCE[dtype])


@pytest.mark.cc
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_a_reduction(dtype: str, tmp_path: Path) -> None:
    sch = Schedule(scores(5, 11, 7))
    block = sch.get_block("c")
    sch.unsafe_set_dtype(block, 0, dtype)
    assert f"c[v_i, v_j] = {dtype}(0.0)" in body(sch)
    i, j, k = sch.get_loops(block)
    sch.reorder(i, k, j)
    sch.vectorize(j)
    check_valid(sch)
    check_compiled(sch, tmp_path, rtol=8 * TOLERANCE[dtype])


@pytest.mark.cc
def test_a_cache_of_an_operand(tmp_path: Path) -> None:
    sch = Schedule(scores(4, 16, 6))
    copied = sch.cache_read(sch.get_block("c"), 1, "local")
    sch.unsafe_set_dtype(copied, 0, "bfloat16")
    check_valid(sch)
    check_compiled(sch, tmp_path, rtol=TOLERANCE["bfloat16"])


def test_all_writers_and_readers_follow() -> None:
    sch = Schedule(twice_written())
    sch.unsafe_set_dtype(sch.get_block("low"), 0, "float64")
    assert body(sch).count("cast(b[") == 1
    assert body(sch).count(', "float64")') == 3
    check_valid(sch)


def test_sums_stored_twice_over() -> None:
    sch = Schedule(row_sums(1, 5))
    block = sch.get_block("s")
    sch.unsafe_set_dtype(block, 0, "float16")
    sch.unsafe_set_dtype(block, 0, "float64")
    check_valid(sch)


def test_the_type_that_it_has_changes_nothing() -> None:
    sch = Schedule(two_stages())
    before = sch.program
    sch.unsafe_set_dtype(sch.get_block("b"), 0, "float32")
    assert sch.program is before
    check_valid(sch)


def test_the_buffer_by_its_name() -> None:
    named, numbered = Schedule(chain(13)), Schedule(chain(13))
    named.unsafe_set_dtype("b", "b", "float16")
    numbered.unsafe_set_dtype("b", 0, "float16")
    assert named.program == numbered.program
    check_valid(named)


@pytest.mark.parametrize("index", [-1, 1, "a"])
def test_requires_an_index_or_the_name_of_a_buffer_that_the_block_writes(index: int | str) -> None:
    sch = Schedule(two_stages())
    with refuses(sch, f"an index or the name of a buffer that the block writes, got {index!r} of "):
        sch.unsafe_set_dtype(sch.get_block("b"), index, "float16")


@pytest.mark.parametrize("program", [copy(4), dynamic()])
def test_requires_an_intermediate_buffer(program: object) -> None:
    sch = Schedule(program)
    with refuses(sch, "unsafe_set_dtype: expected an intermediate buffer, got the parameter 'b'"):
        sch.unsafe_set_dtype(sch.get_block("b"), 0, "float16")


@pytest.mark.parametrize("dtype", ["half", "float32x4", ""])
def test_requires_the_name_of_a_scalar_dtype(dtype: str) -> None:
    sch = Schedule(two_stages())
    with refuses(sch, f"expected the name of a scalar dtype, got '{dtype}', none of float64"):
        sch.unsafe_set_dtype(sch.get_block("b"), 0, dtype)
