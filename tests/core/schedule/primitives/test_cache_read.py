from __future__ import annotations

import pytest

from metasched.schedule.schedule import Schedule
from tests.core.schedule.primitives.stages import (
    chain,
    check_valid,
    refuses,
    scores,
    twice_written,
    window,
)
from tests.core.schedule.programs import body, copy, dynamic, matmul


def test_a_copy_fills_a_cache_that_the_block_reads() -> None:
    sch = Schedule(copy(12))
    made = sch.cache_read(sch.get_block("b"), 0, "local")
    assert sch.value(made) == "a_local"
    assert body(sch) == (
        'a_local = alloc((12,), "float32", scope="local")\n'
        "for ax0 in serial(12):\n"
        '    with block("a_local"):\n'
        "        v_ax0 = spatial(12, ax0)\n"
        "        reads(a[v_ax0])\n"
        "        writes(a_local[v_ax0])\n"
        "        a_local[v_ax0] = a[v_ax0]\n"
        "for i0 in serial(12):\n"
        '    with block("b"):\n'
        "        v_i0 = spatial(12, i0)\n"
        "        reads(a_local[v_i0])\n"
        "        writes(b[v_i0])\n"
        "        b[v_i0] = a_local[v_i0] + float32(1.0)\n"
    )
    check_valid(sch)


def test_all_readers_read_the_cache() -> None:
    sch = Schedule(chain())
    sch.cache_read(sch.get_block("d"), 1, "local")
    assert "c[v_c_i] = b_local[v_c_i] * float32(2.0)" in body(sch)
    assert "d[v_d_i] = c[v_d_i] - b_local[v_d_i]" in body(sch)
    check_valid(sch)


def test_only_the_named_readers_read_the_cache() -> None:
    sch = Schedule(chain())
    c, d = sch.get_block("c"), sch.get_block("d")
    sch.cache_read(d, "b", "local", [d])
    assert "c[v_c_i] = b[v_c_i] * float32(2.0)" in body(sch)
    assert "d[v_d_i] = c[v_d_i] - b_local[v_d_i]" in body(sch)
    assert 'sch.cache_read(b1, "b", "local", [b1])' in sch.trace.as_python()
    check_valid(sch)
    sch.cache_read(c, "b", "local", consumer_blocks=(c,))
    assert "c[v_c_i] = b_local_1[v_c_i] * float32(2.0)" in body(sch)
    check_valid(sch)


def test_the_copy_stays_inside_a_padded_buffer() -> None:
    sch = Schedule(window(7))
    sch.cache_read(sch.get_block("p"), 0, "local")
    assert "v_ax0 = spatial(7, ax0)" in body(sch)
    check_valid(sch)


def test_only_what_is_read_is_copied() -> None:
    sch = Schedule(window(8, 2, 3))
    sch.cache_read(sch.get_block("c"), 0, "local")
    assert "v_ax0 = spatial(8, ax0)" in body(sch)
    assert 'p = alloc((10,), "float32")' in body(sch)
    check_valid(sch)


def test_a_cache_of_a_cache() -> None:
    sch = Schedule(matmul(3, 5, 2))
    block = sch.get_block("c")
    sch.cache_read(block, 1, "global")
    sch.cache_read(block, 1, "local")
    check_valid(sch)


def test_size_known_at_run_time() -> None:
    sch = Schedule(dynamic())
    sch.cache_read(sch.get_block("b"), 0, "local")
    check_valid(sch, n=5)


def test_a_buffer_by_its_name() -> None:
    sch = Schedule(matmul(3, 5, 2))
    sch.cache_read(sch.get_block("c"), "b", "local")
    assert "a[v_i, v_k] * b_local[v_k, v_j]" in body(sch)
    check_valid(sch)


def test_requires_a_known_storage_scope() -> None:
    sch = Schedule(copy(4))
    with refuses(sch, "expected a known storage scope, got 'L1', none of global, local, "):
        sch.cache_read(sch.get_block("b"), 0, "L1")


@pytest.mark.parametrize(("index", "given"), [(-1, "-1 of 1"), (1, "1 of 1"), ("b", "'b' of a")])
def test_requires_an_index_or_the_name_of_a_buffer_that_the_block_reads(
    index: int | str, given: str
) -> None:
    sch = Schedule(copy(4))
    with refuses(sch, f"an index or the name of a buffer that the block reads, got {given}"):
        sch.cache_read(sch.get_block("b"), index, "local")


def test_requires_a_buffer_that_is_finished_before_the_first_nest_that_reads_it() -> None:
    rule = "a buffer that is finished before the first nest that reads it, got "
    sch = Schedule(scores())
    d = sch.get_block("d")
    sch.reverse_compute_at(d, sch.get_loops(sch.get_block("c"))[0])
    with refuses(sch, rule + "'c' written by 'c'"):
        sch.cache_read(d, 0, "local")
    sch = Schedule(twice_written())
    sch.cache_read(sch.get_block("c"), 0, "local")
    check_valid(sch)


def test_requires_consumers_that_read_the_buffer() -> None:
    sch = Schedule(chain())
    c, d = sch.get_block("c"), sch.get_block("d")
    with refuses(sch, "consumers that read the buffer, got 'c', which does not read 'c'"):
        sch.cache_read(d, "c", "local", [c])
