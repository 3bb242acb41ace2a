from __future__ import annotations

from metasched import te
from metasched.schedule.schedule import Schedule
from tests.core.schedule.primitives.stages import (
    chain,
    check_valid,
    part_made,
    producer,
    refuses,
    rolled,
    row_sums,
    twice_written,
    unread,
    window,
)
from tests.core.schedule.programs import body, two_stages


def test_the_formula_takes_the_place_of_every_read() -> None:
    sch = Schedule(chain())
    sch.compute_inline(sch.get_block("b"))
    assert body(sch) == (
        'c = alloc((12,), "float32")\n'
        "for c_i in serial(12):\n"
        '    with block("c"):\n'
        "        v_c_i = spatial(12, c_i)\n"
        "        reads(a[v_c_i])\n"
        "        writes(c[v_c_i])\n"
        "        c[v_c_i] = (a[v_c_i] + float32(1.0)) * float32(2.0)\n"
        "for d_i in serial(12):\n"
        '    with block("d"):\n'
        "        v_d_i = spatial(12, d_i)\n"
        "        reads(c[v_d_i], a[v_d_i])\n"
        "        writes(d[v_d_i])\n"
        "        d[v_d_i] = c[v_d_i] - (a[v_d_i] + float32(1.0))\n"
    )
    check_valid(sch)


def test_one_after_the_other() -> None:
    sch = Schedule(chain(7))
    sch.compute_inline(sch.get_block("c"))
    sch.compute_inline(sch.get_block("b"))
    check_valid(sch)


def test_padding_into_a_reduction() -> None:
    sch = Schedule(window(9, 3, 2))
    sch.compute_inline(sch.get_block("p"))
    check_valid(sch)


def test_a_guarded_read_of_a_part() -> None:
    sch = Schedule(part_made())
    sch.compute_inline(sch.get_block("b"))
    check_valid(sch)


def test_reshaped_reads_are_simplified() -> None:
    a = te.placeholder((3, 4), "float32", name="a")
    b = te.compute((12,), lambda i: a[i // 4, i % 4] * 2.0, name="b")
    c = te.compute((3, 4), lambda i, j: b[i * 4 + j] + 1.0, name="c")
    sch = Schedule(te.program([a, c]))
    sch.compute_inline(sch.get_block("b"))
    assert "reads(a[v_c_i, v_j])" in body(sch)
    check_valid(sch)


def test_after_its_loops_were_split() -> None:
    sch = Schedule(two_stages(5, 7))
    b = sch.get_block("b")
    sch.split(sch.get_loops(b)[1], [None, 4])
    sch.compute_inline(b)
    check_valid(sch)


def test_the_handle_of_an_inlined_block_is_gone() -> None:
    sch = Schedule(chain())
    b = sch.get_block("b")
    sch.compute_inline(b)
    with refuses(sch, "block 'b' is gone, compute_inline removed it"):
        sch.get_loops(b)


def test_requires_a_complete_block() -> None:
    sch = Schedule(row_sums())
    with refuses(sch, "expected a complete block, got 's', whose iteration 'v_k' is reduce"):
        sch.compute_inline(sch.get_block("s"))
    sch = Schedule(twice_written())
    with refuses(sch, "a complete block, got 'low', which shares the writing of 'b' with 'high'"):
        sch.compute_inline(sch.get_block("low"))


def test_requires_a_block_whose_result_is_not_an_output() -> None:
    sch = Schedule(chain())
    with refuses(sch, "expected a block whose result is not an output, got 'd'"):
        sch.compute_inline(sch.get_block("d"))


def test_requires_a_block_whose_result_is_read() -> None:
    sch = Schedule(unread())
    with refuses(sch, "expected a block whose result is read, got 'b'"):
        sch.compute_inline(sch.get_block("b"))


def test_requires_a_single_store_at_the_blocks_own_iterations() -> None:
    rule = "expected a single store at the block's own iterations, got "
    sch = Schedule(producer("reads(a[v_i])", "writes(b[7 - v_i])", "b[7 - v_i] = a[v_i]"))
    with refuses(sch, rule + "'b[7 - v_i] = a[v_i]'"):
        sch.compute_inline(sch.get_block("b"))
    sch = Schedule(producer("reads(a[v_i])", "writes(b[v_i])", "b[v_i] = a[v_i]", "b[v_i] = a[0]"))
    with refuses(sch, rule + "several statements"):
        sch.compute_inline(sch.get_block("b"))


def test_requires_a_block_without_a_condition() -> None:
    sch = Schedule(producer("reads(a[v_i])", "writes(b[v_i])", "b[v_i] = a[v_i]", where="i < 5"))
    with refuses(sch, "expected a block without a condition, got i < 5"):
        sch.compute_inline(sch.get_block("b"))


def test_requires_a_block_that_reads_what_stays_as_it_is() -> None:
    sch = rolled()
    rule = (
        "expected a block that reads what stays as it is, got 'c', which reads 'b' while 'b' goes"
    )
    with refuses(sch, rule):
        sch.compute_inline(sch.get_block("c"))


def test_requires_readers_of_elements() -> None:
    a = te.placeholder((4, 8), "float32", name="a")
    twice = te.compute((4, 8), lambda i, k: a[i, k] * 2.0, name="twice")
    b = te.placeholder((8, 16), "float32", name="b")
    r = te.reduce_axis(8, name="r")
    c = te.compute((4, 16), lambda i, j: te.sum(twice[i, r] * b[r, j], axis=r), name="c")
    sch = Schedule(te.program([a, b, c], name="scaled"))
    i, j, k = sch.get_loops(sch.get_block("c"))
    sch.reorder(k, i, j)
    sch.tensorize(i, "fma_4x16_f32_avx2")
    with refuses(sch, "readers of elements, got 'c_o', which is tensorized"):
        sch.compute_inline(sch.get_block("twice"))
