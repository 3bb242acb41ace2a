from __future__ import annotations

import pytest

from metasched import te
from metasched.errors import CodegenError, ScheduleError
from metasched.ir.parser import parse
from metasched.lower import lower
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref
from tests.core.codegen.tensor_core import register
from tests.core.lower.programs import Machine
from tests.core.schedule.programs import body, check
from tests.core.target.intrinsics.packed import matmul

NAME = "dot_8x4_u8s8_avx2"


def tiled(
    m: int = 2, n: int = 16, k: int = 8, *, sizes: tuple[int, int] = (8, 4), a: str = "uint8"
) -> tuple[Schedule, tuple[Ref, ...]]:
    """A packed product with loops i, j_0, r_0, j_1, r_1."""
    sch = Schedule(matmul(m, n, k, a=a, b="int8", columns=8, depth=4))
    i, j, r = sch.get_loops(sch.get_block("c"))
    j_0, j_1 = sch.split(j, [None, sizes[0]])
    r_0, r_1 = sch.split(r, [None, sizes[1]])
    loops = (i, j_0, r_0, j_1, r_1)
    sch.reorder(*loops)
    return sch, loops


def test_loop() -> None:
    sch, loops = tiled()
    sch.tensorize(loops[3], NAME)
    assert body(sch) == (
        "for i in serial(2):\n"
        "    for j_0 in serial(2):\n"
        "        for r_0 in serial(2):\n"
        '            with block("c_o"):\n'
        "                v_i_o = spatial(2, i)\n"
        "                v_j_o = spatial(2, j_0)\n"
        "                v_r_o = reduce(2, r_0)\n"
        "                reads(a[v_i_o, v_r_o * 4:v_r_o * 4 + 4], b[v_j_o, v_r_o, 0:8, 0:4])\n"
        "                writes(c[v_i_o, v_j_o * 8:v_j_o * 8 + 8])\n"
        "                with init():\n"
        "                    for j_1_init in serial(8):\n"
        '                        with block("c_init"):\n'
        "                            v_j_i_init = spatial(8, j_1_init)\n"
        "                            writes(c[v_i_o, v_j_o * 8 + v_j_i_init])\n"
        "                            c[v_i_o, v_j_o * 8 + v_j_i_init] = int32(0)\n"
        '                c[v_i_o, ramp(v_j_o * 8, 1, 8)] = extern("dot_u8s8_avx2", "int32x8", '
        "c[v_i_o, ramp(v_j_o * 8, 1, 8)], a[v_i_o, ramp(v_r_o * 4, 1, 4)], "
        "b[v_j_o, v_r_o, ramp(0, 1, 32) // broadcast(4, 32), "
        "ramp(0, 1, 32) % broadcast(4, 32)])\n"
    )
    check(sch)


def test_block() -> None:
    sch, loops = tiled()
    block = sch.blockize(loops[3])
    init = sch.decompose_reduction(block, loops[2])
    sch.tensorize(block, NAME)
    assert sch.value(init) == "c_o_init"
    check(sch)


def test_order_of_the_loops_does_not_matter() -> None:
    sch, (_, _, _, j_1, r_1) = tiled()
    sch.reorder(r_1, j_1)
    sch.tensorize(r_1, NAME)
    check(sch)


def test_operands_may_be_exchanged() -> None:
    a = te.placeholder((6, 16), "float32", name="a")
    b = te.placeholder((6, 8), "float32", name="b")
    r = te.reduce_axis(6, name="r")
    c = te.compute((8, 16), lambda i, j: te.sum(a[r, j] * b[r, i], axis=r), name="c")
    sch = Schedule(te.program([a, b, c], name="transposed"))
    i, j, k = sch.get_loops(sch.get_block("c"))
    sch.reorder(k, i, j)
    sch.tensorize(i, "fma_8x16_f32_avx512")
    check(sch)


def test_more_tiles_than_one_are_moved_as_blocks() -> None:
    sch, loops = tiled(4, 32, 16)
    sch.tensorize(loops[3], NAME)
    block = sch.get_block("c_o")
    i, j, r = sch.get_loops(block)
    i_0, i_1 = sch.split(i, [2, 2])
    sch.reorder(i_0, j, r, i_1)
    sch.parallel(i_0)
    sch.unroll(i_1)
    cache = sch.cache_write(block, 0, "global")
    sch.reverse_compute_at(cache, j)
    check(sch)


def test_the_init_of_a_tile_is_no_element_of_reindex() -> None:
    sch, loops = tiled()
    sch.tensorize(loops[3], NAME)
    before = sch.program
    for buffer in (("write", 0), "a"):
        with pytest.raises(ScheduleError, match="at one place, got 'c_o', which"):
            sch.reindex(sch.get_block("c_o"), buffer)
    assert sch.program is before


def test_annotations_go_to_the_block_around() -> None:
    sch, loops = tiled()
    block = sch.get_block("c")
    sch.unsafe_hide_buffer_access(block, "read", [0])
    sch.annotate(block, "note", 1)
    sch.tensorize(loops[3], NAME)
    assert '"note": 1' in body(sch)
    check(sch)


def test_producers_are_computed_at_a_tile() -> None:
    sch, loops = tiled(4, 32, 16)
    sch.tensorize(loops[3], NAME)
    packed = sch.cache_read(sch.get_block("c_o"), 1, "global")
    sch.compute_at(packed, loops[1])
    check(sch)


def test_requires_the_name_of_a_registered_intrinsic() -> None:
    sch, loops = tiled()
    with pytest.raises(ScheduleError, match="got unknown tensor intrinsic 'dot_8x4_u8s8_avx'"):
        sch.tensorize(loops[3], "dot_8x4_u8s8_avx")


def test_requires_a_block_around_loops_and_a_single_block() -> None:
    sch, loops = tiled()
    before = sch.program
    with pytest.raises(ScheduleError, match="loops and a single block, got 0 blocks in 'c'"):
        sch.tensorize(sch.get_block("c"), NAME)
    assert sch.program is before
    assert loops


def test_requires_a_single_store_without_an_init_or_a_predicate_of_its_own() -> None:
    sch = Schedule(matmul(1, 8, 4, a="uint8", b="int8", columns=8, depth=4))
    _, j, _ = sch.get_loops(sch.get_block("c"))
    before = sch.program
    with pytest.raises(ScheduleError, match="predicate of its own, got the init of 'c'"):
        sch.tensorize(j, NAME, preserve_unit_iters=False)
    assert sch.program is before
    sch.tensorize(j, NAME)
    check(sch)


def test_requires_a_single_store_without_an_init_or_a_predicate_even_a_bound() -> None:
    sch = Schedule(matmul(1, 8, 4, a="uint8", b="int8", columns=8, depth=4))
    _, j, _ = sch.get_loops(sch.get_block("c"))
    j_0, _ = sch.split(j, [2, 5])
    with pytest.raises(ScheduleError, match=r"got the predicate j_0 \* 5 \+ j_1 < 8"):
        sch.tensorize(j_0, NAME)


AGAIN = """\
@program
def again(a: Buffer((4,), "float32"), b: Buffer((16,), "float32"), c: Buffer((4, 16), "float32")):
    for q in serial({count}):
        for i in serial(4):
            for j in serial(16):
                with block("c"):
                    v_i = spatial(4, i)
                    v_j = spatial(16, j)
                    reads(c[v_i, v_j], a[v_i], b[v_j])
                    writes(c[v_i, v_j])
                    c[v_i, v_j] = c[v_i, v_j] + a[v_i] * b[v_j]"""


def test_requires_loops_that_run_through_the_tile_once() -> None:
    sch = Schedule(parse(AGAIN.format(count=2)))
    q, i, _ = sch.get_loops(sch.get_block("c"))
    with pytest.raises(ScheduleError, match="tile once, got loops of 128 iterations for a tile of"):
        sch.tensorize(q, "fma_4x16_f32_avx2")
    sch.tensorize(i, "fma_4x16_f32_avx2")
    sch = Schedule(parse(AGAIN.format(count=1)))
    sch.tensorize(sch.get_loops(sch.get_block("c"))[0], "fma_4x16_f32_avx2")


@pytest.mark.parametrize("sizes", [(16, 4), (8, 8), (4, 4)])
def test_requires_what_the_description_of_the_intrinsic_computes(sizes: tuple[int, int]) -> None:
    sch, loops = tiled(sizes=sizes)
    before = sch.program
    message = "what the description of the intrinsic computes, got .*" + f"v_j_i of {sizes[0]}"
    with pytest.raises(ScheduleError, match=message):
        sch.tensorize(loops[3], NAME)
    assert sch.program is before


def test_requires_what_the_description_of_the_intrinsic_computes_in_its_types() -> None:
    sch, loops = tiled(a="int8")
    with pytest.raises(ScheduleError, match="what the description of the intrinsic computes"):
        sch.tensorize(loops[3], NAME)
    sch.tensorize(loops[3], "dot_8x4_s8s8_avx2")
    check(sch)


def test_requires_vectors_whose_lanes_lie_in_memory_as_in_the_parameters() -> None:
    x = te.placeholder((2, 8), "uint8", name="a")
    y = te.placeholder((16, 8), "int8", name="b")
    r = te.reduce_axis(8, name="r")
    c = te.compute(
        (2, 16),
        lambda i, j: te.sum(te.cast(x[i, r], "int32") * te.cast(y[j, r], "int32"), axis=r),
        name="c",
    )
    sch = Schedule(te.program([x, y, c], name="dense"))
    i, j, k = sch.get_loops(sch.get_block("c"))
    j_0, j_1 = sch.split(j, [None, 8])
    k_0, k_1 = sch.split(k, [None, 4])
    sch.reorder(i, j_0, k_0, j_1, k_1)
    before = sch.program
    with pytest.raises(ScheduleError, match="the parameters of the intrinsic, got 'b' for 'b'"):
        sch.tensorize(j_1, NAME)
    assert sch.program is before


def test_a_layout_that_changes_later_is_refused_by_lowering() -> None:
    sch, loops = tiled()
    sch.tensorize(loops[3], NAME)
    packed = sch.cache_read(sch.get_block("c_o"), 1, "global")
    sch.storage_align(packed, 0, 2, 8, 1)
    with pytest.raises(CodegenError, match="to 'b_global' are not steps of one size"):
        lower(sch.program, Machine(features=("avx2",)))


def fragment_copy(scope: str, *outer: int) -> tuple[Schedule, Ref]:
    """Tiles of 16 x 8 copied from a cache in some memory, and the loop around a tile."""
    register()
    a = te.placeholder((16, 8, *outer), "float32", name="a")
    o = te.compute((16, 8, *outer), lambda *at: a[at], name="o")
    sch = Schedule(te.program([a, o], name="copy"))
    sch.cache_read(sch.get_block("o"), 0, scope)
    rows, columns, *rest = sch.get_loops(sch.get_block("o"))
    sch.reorder(*rest, rows, columns)
    return sch, rows


def test_requires_tiles_along_the_last_dimensions_of_their_buffers() -> None:
    sch, rows = fragment_copy("wmma.accumulator", 4)
    rule = "tiles along the last dimensions of their buffers, in order, for a procedure"
    with pytest.raises(ScheduleError, match=f"tensorize: expected {rule}"):
        sch.tensorize(rows, "test_store")


def test_requires_buffers_in_the_memory_that_the_intrinsic_works_on() -> None:
    sch, rows = fragment_copy("local")
    rule = "buffers in the memory that the intrinsic works on, got 'a_local' in 'local'"
    with pytest.raises(ScheduleError, match=f"tensorize: expected {rule}"):
        sch.tensorize(rows, "test_store")
