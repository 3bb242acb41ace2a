from __future__ import annotations

import pytest

from metasched import ops, te
from metasched.ir.parser import parse
from metasched.schedule.schedule import Schedule
from tests.core.schedule.primitives.stages import (
    check_valid,
    gathered,
    in_place,
    nested,
    producer,
    refuses,
    scores,
)
from tests.core.schedule.programs import body, copy, dynamic, matmul, two_stages


def test_an_operand_in_the_order_of_the_block() -> None:
    sch = Schedule(matmul(3, 5, 2))
    made = sch.reindex(sch.get_block("c"), ("read", 1))
    assert sch.value(made) == "b_reindex"
    assert body(sch) == (
        'b_reindex = alloc((5, 2), "float32")\n'
        "for ax0 in serial(5):\n"
        "    for ax1 in serial(2):\n"
        '        with block("b_reindex"):\n'
        "            v_ax0 = spatial(5, ax0)\n"
        "            v_ax1 = spatial(2, ax1)\n"
        "            reads(b[v_ax1, v_ax0])\n"
        "            writes(b_reindex[v_ax0, v_ax1])\n"
        "            b_reindex[v_ax0, v_ax1] = b[v_ax1, v_ax0]\n"
        "for i in serial(3):\n"
        "    for j in serial(5):\n"
        "        for k in serial(2):\n"
        '            with block("c"):\n'
        "                v_i = spatial(3, i)\n"
        "                v_j = spatial(5, j)\n"
        "                v_k = reduce(2, k)\n"
        "                reads(a[v_i, v_k], b_reindex[v_j, v_k])\n"
        "                writes(c[v_i, v_j])\n"
        "                with init():\n"
        "                    c[v_i, v_j] = float32(0.0)\n"
        "                c[v_i, v_j] = c[v_i, v_j] + a[v_i, v_k] * b_reindex[v_j, v_k]\n"
    )
    check_valid(sch)


def test_a_result_is_written_back_behind_the_nest() -> None:
    sch = Schedule(matmul(3, 1, 7))
    sch.reindex(sch.get_block("c"), ("write", 0))
    text = body(sch)
    assert "c_reindex[v_i, v_j] = float32(0.0)" in text
    assert "c_reindex[v_i, v_j] + a[v_i, v_k] * b[v_k, v_j]" in text
    assert text.endswith("c[v_ax0, v_ax1] = c_reindex[v_ax0, v_ax1]\n")
    check_valid(sch)


@pytest.mark.parametrize("buffer", ["a", ("read", 0), ["read", 0]])
def test_a_buffer_by_its_name_or_its_index(buffer: str | tuple[str | int, ...]) -> None:
    sch = Schedule(copy(5))
    sch.reindex(sch.get_block("b"), buffer)
    assert "b[v_i0] = a_reindex[v_i0] + float32(1.0)" in body(sch)
    check_valid(sch)


def test_a_written_buffer_by_its_name() -> None:
    sch = Schedule(two_stages(3, 1))
    sch.reindex(sch.get_block("b"), "b")
    assert "b[v_ax0, v_ax1] = b_reindex[v_ax0, v_ax1]" in body(sch)
    check_valid(sch)


def test_all_operands_of_a_convolution() -> None:
    sch = Schedule(ops.conv2d(n=1, h=5, w=5, ci=2, co=3, k=3, s=2, p=1))
    block = sch.get_block("conv")
    for operand in (("read", 0), ("read", 1), ("write", 0)):
        sch.reindex(block, operand)
    check_valid(sch)


def test_a_result_with_other_strides() -> None:
    program = parse(
        """@program
def strided(a: Buffer((15,), "float32"), c: Buffer((15,), "float32")):
    for i in serial(3):
        for j in serial(5):
            with block("c"):
                v_i = spatial(3, i)
                v_j = spatial(5, j)
                reads(a[v_i * 5 + v_j])
                writes(c[v_j * 3 + v_i])
                c[v_j * 3 + v_i] = a[v_i * 5 + v_j]
"""
    )
    sch = Schedule(program)
    sch.reindex(sch.get_block("c"), ("write", 0))
    assert "c[v_ax1 * 3 + v_ax0] = c_reindex[v_ax0, v_ax1]" in body(sch)
    check_valid(sch)


def test_only_iterations_of_the_access_are_dimensions() -> None:
    sch = Schedule(scores(4, 3, 2))
    sch.reindex(sch.get_block("c"), ("read", 0))
    assert 'a_reindex = alloc((4, 2), "float32")' in body(sch)
    check_valid(sch)


def test_an_element_that_no_iteration_moves() -> None:
    a = te.placeholder((1,), "float32", name="a")
    c = te.compute((4,), lambda i: a[0] * 2.0, name="c")
    sch = Schedule(te.program([a, c]))
    sch.reindex(sch.get_block("c"), "a")
    assert 'a_reindex = alloc((), "float32")' in body(sch)
    check_valid(sch)


def test_several_stores_of_one_block() -> None:
    sch = Schedule(ops.argmax(m=3, n=5))
    block = sch.get_output_blocks(sch.get_block("root"))[0]
    sch.reindex(block, ("write", 0))
    check_valid(sch)


def test_size_known_at_run_time() -> None:
    sch = Schedule(dynamic())
    sch.reindex(sch.get_block("b"), ("read", 0))
    sch.reindex(sch.get_block("b"), ("write", 0))
    check_valid(sch, n=5)


@pytest.mark.parametrize("buffer", [("reads", 0), ("read",), ("read", "a"), ("read", 0, 0)])
def test_requires_read_or_write_with_an_index_or_a_name(buffer: tuple[str | int, ...]) -> None:
    sch = Schedule(copy(4))
    with refuses(sch, f'"read" or "write" with an index, or a name, got {buffer}'):
        sch.reindex(sch.get_block("b"), buffer)


def test_requires_an_index_or_the_name_of_a_buffer_that_the_block_reads_or_writes() -> None:
    sch = Schedule(copy(4))
    block = sch.get_block("b")
    with refuses(sch, "an index or the name of a buffer that the block reads, got 1 of 1"):
        sch.reindex(block, ("read", 1))
    with refuses(sch, "an index or the name of a buffer that the block writes, got -1 of 1"):
        sch.reindex(block, ("write", -1))
    with refuses(sch, "an index or the name of a buffer that the block reads, got 'z' of a"):
        sch.reindex(block, "z")


def test_requires_a_block_without_loops_or_blocks_inside() -> None:
    sch = Schedule(nested())
    with refuses(sch, "a block without loops or blocks inside, got loop 'x'"):
        sch.reindex(sch.get_block("outer"), "b")


def test_requires_a_buffer_that_the_block_accesses_at_one_place() -> None:
    a = te.placeholder((6,), "float32", name="a")
    c = te.compute((5,), lambda i: a[i] + a[i + 1], name="c")
    sch = Schedule(te.program([a, c]))
    with refuses(sch, "a buffer that the block accesses at one place, got 2 places of 'a'"):
        sch.reindex(sch.get_block("c"), "a")


def test_requires_a_buffer_that_is_finished_before_the_first_nest_that_reads_it() -> None:
    sch = Schedule(scores())
    d = sch.get_block("d")
    sch.reverse_compute_at(d, sch.get_loops(sch.get_block("c"))[0])
    with refuses(sch, "a buffer that is finished before the first nest that reads it, got 'c'"):
        sch.reindex(d, "c")


def test_requires_a_block_that_alone_writes_the_buffer() -> None:
    sch = Schedule(matmul())
    block = sch.get_block("c")
    sch.decompose_reduction(block, sch.get_loops(block)[2])
    with refuses(sch, "a block that alone writes the buffer, got 'c_init' writing it too"):
        sch.reindex(block, ("write", 0))


def test_requires_a_block_that_does_not_read_what_it_writes() -> None:
    sch = Schedule(in_place())
    with refuses(sch, "a block that does not read what it writes, got 'c', which reads 'c' first"):
        sch.reindex(sch.get_block("c"), ("write", 0))


def test_requires_readers_of_the_buffer_outside_of_the_blocks_nest() -> None:
    sch = Schedule(scores())
    c = sch.get_block("c")
    sch.reverse_compute_at(sch.get_block("d"), sch.get_loops(c)[0])
    with refuses(sch, "readers of the buffer outside of the block's nest, got 'd' in it"):
        sch.reindex(c, ("write", 0))


@pytest.mark.parametrize(
    ("at", "where"), [("v_i // 2", ""), ("v_i", "i < 5"), ("v_i", "i % 2 == 0")]
)
def test_requires_a_block_that_writes_one_element_in_each_of_its_iterations(
    at: str, where: str
) -> None:
    program = producer("reads(a[v_i])", f"writes(b[{at}])", f"b[{at}] = a[v_i]", where=where)
    sch = Schedule(program)
    with refuses(sch, "a block that writes one element in each of its iterations, got 'b' written"):
        sch.reindex(sch.get_block("b"), ("write", 0))


def test_requires_indices_that_read_nothing() -> None:
    sch = Schedule(gathered())
    with refuses(sch, "indices that read nothing, got a["):
        sch.reindex(sch.get_block("b"), "a")
