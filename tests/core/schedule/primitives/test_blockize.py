from __future__ import annotations

import pytest

from metasched import ops, te
from metasched.errors import ScheduleError
from metasched.ir.parser import parse
from metasched.ir.stmt import Program
from metasched.schedule.replay import replay
from metasched.schedule.schedule import Schedule
from metasched.testing.round_trip import check_symbolic_replay
from metasched.trace.instruction import Ref
from tests.core.schedule.programs import body, check, copy, dynamic, matmul, triangle, two_stages


def tiled(m: int, n: int, k: int, *, factor: int = 4) -> tuple[Schedule, tuple[Ref, ...]]:
    """A product with loops i_0, j_0, k_0, i_1, j_1, k_1."""
    sch = Schedule(matmul(m, n, k))
    split = [sch.split(loop, [None, factor]) for loop in sch.get_loops(sch.get_block("c"))]
    loops = (*(outer for outer, _ in split), *(inner for _, inner in split))
    sch.reorder(*loops)
    return sch, loops


def fused(n: int = 12) -> tuple[Schedule, Ref]:
    sch = Schedule(copy(n))
    (loop,) = sch.get_loops(sch.get_block("b"))
    return sch, loop


def test_tile_of_a_stage() -> None:
    sch, loop = fused()
    _, inner = sch.split(loop, [3, 4])
    block = sch.blockize(inner)
    assert sch.value(block) == "b_o"
    assert body(sch) == (
        "for i0_0 in serial(3):\n"
        '    with block("b_o"):\n'
        "        v_i0_o = spatial(3, i0_0)\n"
        "        reads(a[v_i0_o * 4:v_i0_o * 4 + 4])\n"
        "        writes(b[v_i0_o * 4:v_i0_o * 4 + 4])\n"
        "        for i0_1 in serial(4):\n"
        '            with block("b"):\n'
        "                v_i0_i = spatial(4, i0_1)\n"
        "                reads(a[v_i0_o * 4 + v_i0_i])\n"
        "                writes(b[v_i0_o * 4 + v_i0_i])\n"
        "                b[v_i0_o * 4 + v_i0_i] = a[v_i0_o * 4 + v_i0_i] + float32(1.0)\n"
    )
    check(sch)


def test_init_moves_to_the_new_block() -> None:
    sch, loops = tiled(8, 4, 12)
    sch.blockize(loops[3])
    assert body(sch) == (
        "for i_0 in serial(2):\n"
        "    for j_0 in serial(1):\n"
        "        for k_0 in serial(3):\n"
        '            with block("c_o"):\n'
        "                v_i_o = spatial(2, i_0)\n"
        "                v_j_o = spatial(1, j_0)\n"
        "                v_k_o = reduce(3, k_0)\n"
        "                reads(a[v_i_o * 4:v_i_o * 4 + 4, v_k_o * 4:v_k_o * 4 + 4], "
        "b[v_k_o * 4:v_k_o * 4 + 4, 0:4])\n"
        "                writes(c[v_i_o * 4:v_i_o * 4 + 4, 0:4])\n"
        "                with init():\n"
        "                    for i_1_init in serial(4):\n"
        "                        for j_1_init in serial(4):\n"
        '                            with block("c_init"):\n'
        "                                v_i_i_init = spatial(4, i_1_init)\n"
        "                                v_j_i_init = spatial(4, j_1_init)\n"
        "                                writes(c[v_i_o * 4 + v_i_i_init, "
        "v_j_o * 4 + v_j_i_init])\n"
        "                                c[v_i_o * 4 + v_i_i_init, v_j_o * 4 + v_j_i_init] = "
        "float32(0.0)\n"
        "                for i_1 in serial(4):\n"
        "                    for j_1 in serial(4):\n"
        "                        for k_1 in serial(4):\n"
        '                            with block("c"):\n'
        "                                v_i_i = spatial(4, i_1)\n"
        "                                v_j_i = spatial(4, j_1)\n"
        "                                v_k_i = reduce(4, k_1)\n"
        "                                reads(a[v_i_o * 4 + v_i_i, v_k_o * 4 + v_k_i], "
        "b[v_k_o * 4 + v_k_i, v_j_o * 4 + v_j_i], c[v_i_o * 4 + v_i_i, v_j_o * 4 + v_j_i])\n"
        "                                writes(c[v_i_o * 4 + v_i_i, v_j_o * 4 + v_j_i])\n"
        "                                c[v_i_o * 4 + v_i_i, v_j_o * 4 + v_j_i] = "
        "c[v_i_o * 4 + v_i_i, v_j_o * 4 + v_j_i] + "
        "a[v_i_o * 4 + v_i_i, v_k_o * 4 + v_k_i] * b[v_k_o * 4 + v_k_i, v_j_o * 4 + v_j_i]\n"
    )
    check(sch)


@pytest.mark.parametrize("depth", range(6))
@pytest.mark.parametrize("preserve", [True, False])
def test_at_every_loop(depth: int, preserve: bool) -> None:
    sch, loops = tiled(8, 4, 12)
    sch.blockize(loops[depth], preserve_unit_iters=preserve)
    check(sch)


def test_iterations_of_extent_1_go_on_request() -> None:
    sch, loops = tiled(8, 4, 12)
    sch.blockize(loops[3], preserve_unit_iters=False)
    assert "v_j_o" not in str(sch.program)
    assert "v_j_i = spatial(4, j_1)" in body(sch)
    check(sch)


def test_a_reduction_that_runs_inside_keeps_its_init_on_request() -> None:
    sch = Schedule(matmul(4, 5, 7))
    loops = sch.get_loops(sch.get_block("c"))
    sch.blockize(loops[2], preserve_unit_iters=False)
    assert "c_init" not in str(sch.program)
    assert "with init():" in body(sch)
    check(sch)


def test_conditions_deeper_inside_hold_as_before() -> None:
    a = te.placeholder((1,), "float32", name="a")
    b = te.compute((3,), lambda i: te.if_then_else(i < 1, a[i], 0.0), name="b")
    sch = Schedule(te.program([a, b], name="padded"))
    outer = sch.blockize(sch.get_loops(sch.get_block("b"))[0], preserve_unit_iters=False)
    sch.blockize([outer])
    check(sch)


def test_buffers_of_its_own_may_be_written_at_reduce_iterations() -> None:
    sch = Schedule(matmul(4, 5, 6))
    block = sch.get_block("c")
    sch.blockize([block])
    sch.cache_read(block, 1, "local")
    check(sch)


def test_caches_inside_know_the_iterations_around() -> None:
    sch = Schedule(copy(2, 3))
    sch.blockize([sch.get_block("b")])
    sch.cache_write(sch.get_block("b"), 0, "local")
    sch.cache_read(sch.get_block("b"), 0, "local")
    assert "for ax0 in serial(1)" in body(sch)
    check(sch)


def test_a_reduction_of_one_step_stays_one() -> None:
    sch = Schedule(matmul(4, 5, 1))
    sch.blockize(sch.get_loops(sch.get_block("c"))[2], preserve_unit_iters=False)
    check(sch)
    sch = Schedule(matmul(4, 5, 1))
    sch.blockize([sch.get_block("c")], preserve_unit_iters=False)
    check(sch)


def test_new_block_is_scheduled_as_a_whole() -> None:
    sch, loops = tiled(8, 8, 12)
    block = sch.blockize(loops[3])
    i, j, k = sch.get_loops(block)
    sch.reorder(j, i, k)
    sch.parallel(j)
    init = sch.decompose_reduction(block, k)
    assert sch.value(init) == "c_o_init"
    assert [sch.value(b) for b in sch.get_child_blocks(block)] == ["c"]
    assert len(sch.get_loops(sch.get_block("c"))) == 3
    check(sch)


def test_block_in_a_block() -> None:
    sch, loops = tiled(8, 8, 12)
    sch.blockize(loops[4])
    sch.blockize(loops[2])
    check(sch)
    inner = sch.get_loops(sch.get_block("c"))
    sch.blockize(inner[0])
    check(sch)


def test_predicates_go_to_their_side() -> None:
    sch = Schedule(copy(13, 10))
    i, j = sch.get_loops(sch.get_block("b"))
    sch.split(i, [None, 4])
    sch.split(j, [None, 3])
    loops = sch.get_loops(sch.get_block("b"))
    sch.blockize(loops[2])
    text = body(sch)
    outer, _, inside = text.partition('with block("b"):')
    assert "where(i0_0 * 4 + i0_1 < 13)" in outer
    assert "where(i1_0 * 3 + i1_1 < 10)" in inside
    check(sch)


def test_blocks_that_follow_each_other() -> None:
    sch = Schedule(two_stages(6, 8))
    first, second = sch.get_block("b"), sch.get_block("c")
    i, j = sch.get_loops(second)
    sch.split(j, [2, 4])
    sch.compute_at(first, i)
    block = sch.blockize([first, second])
    assert sch.value(block) == "outer_b_c_"
    assert body(sch) == (
        'b = alloc((6, 8), "float32")\n'
        "for c_i in serial(6):\n"
        '    with block("outer_b_c_"):\n'
        "        v_i_o = spatial(6, c_i)\n"
        "        v_j_o = spatial(1, 0)\n"
        "        reads(a[v_i_o, 0:8], b[v_i_o, 0:8])\n"
        "        writes(b[v_i_o, 0:8], c[v_i_o, 0:8])\n"
        "        for ax0 in serial(8):\n"
        '            with block("b"):\n'
        "                v_j_i = spatial(8, ax0)\n"
        "                reads(a[v_i_o, v_j_o * 8 + v_j_i])\n"
        "                writes(b[v_i_o, v_j_o * 8 + v_j_i])\n"
        "                b[v_i_o, v_j_o * 8 + v_j_i] = a[v_i_o, v_j_o * 8 + v_j_i] + float32(1.0)\n"
        "        for c_j_0 in serial(2):\n"
        "            for c_j_1 in serial(4):\n"
        '                with block("c"):\n'
        "                    v_c_j_i = spatial(8, c_j_0 * 4 + c_j_1)\n"
        "                    reads(b[v_i_o, v_j_o * 8 + v_c_j_i])\n"
        "                    writes(c[v_i_o, v_j_o * 8 + v_c_j_i])\n"
        "                    c[v_i_o, v_j_o * 8 + v_c_j_i] = "
        "b[v_i_o, v_j_o * 8 + v_c_j_i] * float32(2.0)\n"
    )
    check(sch)


def test_blocks_without_a_common_loop() -> None:
    sch = Schedule(two_stages(5, 3))
    sch.blockize([sch.get_block("c"), sch.get_block("b")], preserve_unit_iters=False)
    assert body(sch).count("with block") == 3
    check(sch)


def test_a_single_block() -> None:
    sch = Schedule(matmul(5, 3, 7))
    sch.blockize([sch.get_block("c")])
    check(sch)


def test_reduction_behind_its_producer() -> None:
    sch = Schedule(ops.matmul(m=8, n=4, k=6))
    block = sch.get_block("c")
    packed = sch.cache_read(block, 1, "global")
    sch.compute_at(packed, sch.get_loops(block)[0])
    sch.blockize([packed, block])
    check(sch)


@pytest.mark.parametrize("shape", [(7,), (13, 1), (1, 5), (2, 3, 5)])
def test_odd_extents(shape: tuple[int, ...]) -> None:
    sch = Schedule(copy(*shape))
    loops = sch.get_loops(sch.get_block("b"))
    sch.blockize(loops[-1])
    check(sch)


def test_size_known_at_run_time() -> None:
    sch = Schedule(dynamic())
    (loop,) = sch.get_loops(sch.get_block("b"))
    sch.blockize(loop)
    check(sch, n=7)


def test_fused_loops() -> None:
    sch = Schedule(copy(4, 6))
    i, j = sch.get_loops(sch.get_block("b"))
    middle, inner = sch.split(j, [3, 2])
    sch.fuse(i, middle)
    sch.blockize(inner)
    check(sch)


def test_symbolic_tiles() -> None:
    sch = Schedule(matmul(8, 12, 6), seed=1)
    loops = sch.get_loops(sch.get_block("c"))
    split = [sch.split(x, sch.sample_perfect_tile(x, n=2)) for x in loops]
    sch.reorder(*(outer for outer, _ in split), *(inner for _, inner in split))
    sch.blockize(split[0][1])
    check(sch)
    check_symbolic_replay(sch)


def test_an_old_name_of_an_iteration_is_not_needed_by_the_trace() -> None:
    sch, loops = tiled(8, 8, 12)
    block = sch.blockize(loops[3])
    sch.annotate(block, "note", 1)
    again = replay(sch.trace, sch.original)
    assert again.program == sch.program


def test_requires_at_least_one_block() -> None:
    sch, _ = fused()
    with pytest.raises(ScheduleError, match="expected at least one block, got none"):
        sch.blockize([])


def test_requires_a_loop_around_a_single_block() -> None:
    sch = Schedule(two_stages())
    first, second = sch.get_block("b"), sch.get_block("c")
    loop = sch.get_loops(second)[0]
    sch.compute_at(first, loop)
    before = sch.program
    with pytest.raises(ScheduleError, match="a loop around a single block, got 2 blocks"):
        sch.blockize(loop)
    assert sch.program is before


def test_requires_blocks_of_one_scope() -> None:
    sch, loop = fused()
    outer = sch.blockize(loop)
    with pytest.raises(ScheduleError, match="blocks of one scope, got 'b' in another scope"):
        sch.blockize([outer, sch.get_block("b")])


def test_requires_blocks_inside_the_root_block() -> None:
    sch, _ = fused()
    with pytest.raises(ScheduleError, match="blocks inside the root block, got the root block"):
        sch.blockize([sch.get_block("root")])


def test_requires_blocks_that_no_other_statement_stands_between() -> None:
    a = te.placeholder((6,), "float32", name="a")
    b = te.compute((6,), lambda i: a[i] + 1.0, name="b")
    c = te.compute((6,), lambda i: b[i] + 1.0, name="c")
    d = te.compute((6,), lambda i: c[i] + 1.0, name="d")
    sch = Schedule(te.program([a, d], name="three"))
    with pytest.raises(ScheduleError, match="no other statement stands between, got 'c'"):
        sch.blockize([sch.get_block("b"), sch.get_block("d")])


def test_requires_extents_and_conditions_inside_that_do_not_depend_on_loops_outside() -> None:
    sch = Schedule(triangle())
    _, inner = sch.get_loops(sch.get_block("b"))
    with pytest.raises(ScheduleError, match="do not depend on loops outside, got i, which"):
        sch.blockize(inner)


def test_requires_iterations_that_loops_inside_run_through_in_parts_of_one_size() -> None:
    sch, loop = fused()
    strided, inner = sch.split(loop, [4, 3])
    sch.reorder(inner, strided)
    before = sch.program
    with pytest.raises(ScheduleError, match="in parts of one size, got 'v_i0' of extent 12 bound"):
        sch.blockize(strided)
    assert sch.program is before
    sch, loop = fused(13)
    _, inner = sch.split(loop, [None, 4])
    with pytest.raises(ScheduleError, match="hint: split the loop by a divisor, or pad_einsum"):
        sch.blockize(inner)


GUARDED = """\
@program
def guarded(a: Buffer((4, 8), "float32"), b: Buffer((4, 8), "float32")):
    for i in serial(4):
        for j in serial(8):
            with block("b"):
                v_i = spatial(4, i)
                v_j = spatial(8, j)
                where(i + j < 9)
                reads(a[v_i, v_j])
                writes(b[v_i, v_j])
                b[v_i, v_j] = a[v_i, v_j]"""


def test_requires_predicates_over_loops_outside_or_over_loops_inside() -> None:
    sch = Schedule(parse(GUARDED))
    _, inner = sch.get_loops(sch.get_block("b"))
    with pytest.raises(ScheduleError, match=r"loops outside or over loops inside, got i \+ j < 9"):
        sch.blockize(inner)


PAIR = """\
@program
def pair(a: Buffer((8, 8), "float32"), b: Buffer((8,), "float32"), c: Buffer((8,), "float32")):
    for i in serial(8):
        for k in serial(8):
            {first}
            for j in serial(1):
                with block("c"):
                    v_i = spatial(8, i)
                    v_k = reduce(8, k)
                    reads(a[v_i, v_k])
                    writes(c[v_i])
                    with init():
                        c[v_i] = float32(0.0)
                    c[v_i] = c[v_i] + a[v_i, v_k]"""


def pair(*lines: str) -> Program:
    """A reduction behind a block of the given lines."""
    return parse(PAIR.format(first=f"\n{' ' * 12}".join(lines)))


def test_requires_predicates_over_loops_outside_that_all_blocks_share() -> None:
    first = (
        'with block("b"):',
        "    v_i0 = spatial(8, i)",
        "    where(i < 5)",
        "    reads(a[v_i0, 0])",
        "    writes(b[v_i0])",
        "    b[v_i0] = a[v_i0, 0]",
    )
    sch = Schedule(pair(*first))
    with pytest.raises(ScheduleError, match="that all blocks share, got different ones of 'b'"):
        sch.blockize([sch.get_block("b"), sch.get_block("c")])


def test_requires_reduce_loops_outside_that_all_blocks_with_an_init_share() -> None:
    first = (
        'with block("b"):',
        "    v_i0 = spatial(8, k)",
        "    v_k0 = reduce(8, i)",
        "    reads(a[v_i0, v_k0])",
        "    writes(b[v_i0])",
        "    with init():",
        "        b[v_i0] = float32(0.0)",
        "    b[v_i0] = b[v_i0] + a[v_i0, v_k0]",
    )
    sch = Schedule(pair(*first))
    with pytest.raises(ScheduleError, match="blocks with an init share, got others of 'b'"):
        sch.blockize([sch.get_block("b"), sch.get_block("c")])


def test_requires_results_of_reductions_that_no_block_before_them_touches() -> None:
    first = (
        'with block("b"):',
        "    v_i0 = spatial(8, i)",
        "    reads(c[v_i0])",
        "    writes(b[v_i0])",
        "    b[v_i0] = c[v_i0]",
    )
    sch = Schedule(pair(*first))
    with pytest.raises(ScheduleError, match="no block before them touches, got 'c' in 'b'"):
        sch.blockize([sch.get_block("b"), sch.get_block("c")])


BOTH = """\
@program
def both(a: Buffer((8, 8, 4), "float32"), c: Buffer((8, 4), "float32")):
    for k in serial(8):
        for f in serial(32):
            with block("c"):
                v_i = spatial(4, f // 8)
                v_l = spatial(1, f // 32)
                v_k = reduce(8, k)
                v_r = reduce(8, f % 8)
                reads(a[v_k, v_r, v_i])
                writes(c[v_l, v_i])
                with init():
                    c[v_l, v_i] = float32(0.0)
                c[v_l, v_i] = c[v_l, v_i] + a[v_k, v_r, v_i]"""


def test_requires_loops_inside_a_reduction_that_drive_either_spatial_or_reduce_iterations() -> None:
    sch = Schedule(parse(BOTH))
    _, inner = sch.get_loops(sch.get_block("c"))
    with pytest.raises(ScheduleError, match="either spatial or reduce iterations, got 'f'"):
        sch.blockize(inner)
