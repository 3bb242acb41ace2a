from __future__ import annotations

from pathlib import Path

import pytest

from metasched.ir.parser import parse
from metasched.ir.stmt import Program
from metasched.schedule.index_map import IndexMap
from metasched.schedule.schedule import Schedule
from tests.core.schedule.primitives.compiled import check_compiled
from tests.core.schedule.primitives.stages import check_valid, refuses
from tests.core.schedule.programs import body, copy, matmul, two_stages


def lookup(n: int = 12) -> Program:
    """Elements of ``p``, up to two behind their place, as a table says."""
    return parse(
        f"""@program
def lookup(a: Buffer(({n + 2},), "float32"), k: Buffer(({n},), "int64"), c: Buffer(({n},), "float32")):
    p = alloc(({n + 2},), "float32")
    for i in serial({n + 2}):
        with block("p"):
            v_i = spatial({n + 2}, i)
            reads(a[v_i])
            writes(p[v_i])
            p[v_i] = a[v_i] * float32(2.0)
    for j in serial({n}):
        with block("c"):
            v_j = spatial({n}, j)
            reads(p[v_j + k[v_j] % 3], k[v_j])
            writes(c[v_j])
            c[v_j] = p[v_j + k[v_j] % 3] + float32(1.0)
"""  # noqa: E501
    )


def test_a_promise_and_what_it_is_good_for() -> None:
    sch = Schedule(lookup())
    block = sch.get_block("c")
    sch.annotate_buffer_access(block, 0, "read", lambda v: [(v, v + 3)])
    outer, _ = sch.split(sch.get_loops(block)[0], [None, 4])
    sch.compute_at(sch.get_block("p"), outer)
    assert body(sch) == (
        'p = alloc((14,), "float32")\n'
        "for j_0 in serial(3):\n"
        "    for ax0 in serial(6):\n"
        '        with block("p"):\n'
        "            v_i = spatial(14, j_0 * 4 + ax0)\n"
        "            reads(a[v_i])\n"
        "            writes(p[v_i])\n"
        "            p[v_i] = a[v_i] * float32(2.0)\n"
        "    for j_1 in serial(4):\n"
        '        with block("c"):\n'
        "            v_j = spatial(12, j_0 * 4 + j_1)\n"
        "            reads(p[v_j:v_j + 3], k[v_j])\n"
        "            writes(c[v_j])\n"
        '            annotations({"explicit_read_region": (0,)})\n'
        "            c[v_j] = p[v_j + k[v_j] % 3] + float32(1.0)\n"
    )
    check_valid(sch)


def test_without_it_the_whole_producer_is_needed() -> None:
    sch = Schedule(lookup())
    outer, _ = sch.split(sch.get_loops(sch.get_block("c"))[0], [None, 4])
    sch.compute_at(sch.get_block("p"), outer)
    assert "for ax0 in serial(14):" in body(sch)


@pytest.mark.cc
@pytest.mark.parametrize("n", [1, 7, 13])
@pytest.mark.parametrize("tile", [1, 4])
def test_tiles_of_odd_sizes(n: int, tile: int, tmp_path: Path) -> None:
    sch = Schedule(lookup(n))
    block = sch.get_block("c")
    sch.annotate_buffer_access(block, 0, "read", "v -> [v, v + 3]")
    outer, _ = sch.split(sch.get_loops(block)[0], [None, tile])
    sch.compute_at(sch.get_block("p"), outer)
    check_valid(sch)
    check_compiled(sch, tmp_path)


def test_functions_texts_and_maps_say_the_same() -> None:
    made: list[str] = []
    for given in (
        lambda i, j, k: (i, (k - 1, k + 1)),
        "i, j, k -> [i, i + 1, k - 1, k + 1]",
        str(IndexMap.from_func(lambda *v: [v[0], v[0] + 1, v[2] - 1, v[2] + 1], 3)),
    ):
        sch = Schedule(matmul(2, 3, 4))
        sch.annotate_buffer_access(sch.get_block("c"), 0, "read", given)
        made.append(body(sch))
        check_valid(sch)
    assert "reads(a[v_i, v_k - 1:v_k - 1 + 2], b[v_k, v_j])" in made[0]
    assert made[1] == made[2] == made[0]


def test_what_is_written() -> None:
    sch = Schedule(two_stages(3, 5))
    sch.annotate_buffer_access(sch.get_block("b"), 0, "write", lambda i, j: (i, (0, 5)))
    assert "writes(b[v_i, 0:5])" in body(sch)
    assert 'annotations({"explicit_write_region": (0,)})' in body(sch)
    check_valid(sch)


def test_a_guarded_access_is_taken_at_its_word() -> None:
    text = str(copy(6)).replace(
        "a[v_i0] + float32(1.0)", "if_then_else(1 <= v_i0, a[v_i0 - 1], float32(0.0))"
    )
    sch = Schedule(parse(text.replace("reads(a[v_i0])", "reads(a[v_i0 - 1])")))
    sch.annotate_buffer_access(sch.get_block("b"), 0, "read", lambda i: [(i, i + 1)])
    assert "reads(a[v_i0])" in body(sch)
    check_valid(sch)


def test_promises_stay_when_the_body_is_rewritten() -> None:
    sch = Schedule(lookup())
    block = sch.get_block("c")
    sch.annotate_buffer_access(block, 1, "read", lambda v: [(v, v + 2)])
    sch.compute_inline(sch.get_block("p"))
    assert "reads(a[v_j + k[v_j] % 3], k[v_j:v_j + 2])" in body(sch)
    assert 'annotations({"explicit_read_region": (1,)})' in body(sch)
    check_valid(sch)


def test_promises_grow_with_what_the_body_accesses() -> None:
    sch = Schedule(
        parse(
            """@program
def grow(a: Buffer((8,), "float32"), c: Buffer((4,), "float32")):
    p = alloc((8,), "float32")
    for i in serial(8):
        with block("p"):
            v_i = spatial(8, i)
            reads(a[v_i])
            writes(p[v_i])
            p[v_i] = a[v_i] * float32(2.0)
    for j in serial(4):
        with block("c"):
            v_j = spatial(4, j)
            reads(a[v_j], p[v_j + 4])
            writes(c[v_j])
            c[v_j] = a[v_j] + p[v_j + 4]
"""
        )
    )
    sch.annotate_buffer_access(sch.get_block("c"), 0, "read", lambda v: [(v, v + 2)])
    sch.compute_inline(sch.get_block("p"))
    assert "reads(a[v_j:v_j + 5])" in body(sch)
    check_valid(sch)


def test_hidden_accesses_leave_other_promises() -> None:
    sch = Schedule(lookup())
    block = sch.get_block("c")
    sch.annotate_buffer_access(block, 1, "read", lambda v: [(v, v + 2)])
    sch.unsafe_hide_buffer_access(block, "read", [0])
    assert '"explicit_read_region": (0,)' in body(sch)
    check_valid(sch)


def test_requires_a_buf_type_that_is_read_or_write() -> None:
    sch = Schedule(copy(4))
    with refuses(sch, "expected a buf_type that is 'read' or 'write', got 'both'"):
        sch.annotate_buffer_access(sch.get_block("b"), 0, "both", lambda i: [i])


@pytest.mark.parametrize("index", [-1, 1])
def test_requires_an_index_or_the_name_of_a_buffer_that_the_block_reads(index: int) -> None:
    sch = Schedule(copy(4))
    with refuses(sch, f"of a buffer that the block reads, got {index} of 1"):
        sch.annotate_buffer_access(sch.get_block("b"), index, "read", lambda i: [i])


def test_the_buffer_may_be_named() -> None:
    sch = Schedule(copy(4))
    sch.annotate_buffer_access(sch.get_block("b"), "b", "write", lambda i: [(0, 4)])
    assert "writes(b[0:4])" in body(sch)
    check_valid(sch)
    with refuses(sch, "of a buffer that the block writes, got 'a' of b"):
        sch.annotate_buffer_access(sch.get_block("b"), "a", "write", lambda i: [i])


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("i, j -> [i, i + 1]", "'i, j -> [i, i + 1]', not from 1 to 2"),
        ("i -> [i]", "'i -> [i]', not from 1 to 2"),
        ("i", "an error: 'i' is no index map"),
        ("i -> [i, n]", "an error: an index map has no index 'n'"),
    ],
)
def test_requires_a_map_of_the_blocks_iterations_to_a_begin_and_an_end(
    given: str, found: str
) -> None:
    sch = Schedule(copy(4))
    rule = "expected a map of the block's iterations to a begin and an end for each dimension, got "
    with refuses(sch, rule + found):
        sch.annotate_buffer_access(sch.get_block("b"), 0, "read", given)


def test_requires_ranges_that_are_not_empty() -> None:
    sch = Schedule(copy(4))
    with refuses(sch, "expected ranges that are not empty, got v_i0 to v_i0"):
        sch.annotate_buffer_access(sch.get_block("b"), 0, "read", lambda i: [(i, i)])


@pytest.mark.parametrize("verb", ["read", "write"])
def test_requires_ranges_that_hold_what_the_block_certainly_accesses(verb: str) -> None:
    sch = Schedule(copy(4))
    name = "a" if verb == "read" else "b"
    rule = f"expected ranges that hold what the block certainly accesses, got {name}[v_i0]"
    with refuses(sch, rule):
        sch.annotate_buffer_access(sch.get_block("b"), 0, verb, lambda i: [(i + 1, i + 3)])
