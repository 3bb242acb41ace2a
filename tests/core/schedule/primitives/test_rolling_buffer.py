from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from metasched import te
from metasched.ir.expr import Expr, Var, const, int_value
from metasched.ir.parser import parse
from metasched.ir.simplify import simplify
from metasched.ir.stmt import Program
from metasched.ir.walk import substitute
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref
from tests.core.schedule.primitives.compiled import c_body, check_compiled
from tests.core.schedule.primitives.stages import chain, check_valid, refuses, rolled
from tests.core.schedule.programs import body, copy, two_stages


def stencil(n: int, m: int, k: int = 3) -> Program:
    """``b = 2 a``, then ``c`` the sums of ``k`` rows of ``b``."""
    a = te.placeholder((n + k - 1, m), "float32", name="a")
    b = te.compute((n + k - 1, m), lambda y, x: a[y, x] * 2.0, name="b")
    r = te.reduce_axis(k, name="r")
    c = te.compute((n, m), lambda i, j: te.sum(b[i + r, j], axis=r), name="c")
    return te.program([a, c], name="stencil")


def pools(n: int, m: int, k: int = 3, s: int = 1) -> Program:
    """Two max-pools of ``k`` x ``k``, the second with a stride."""
    rows, columns = (n - 1) * s + k, (m - 1) * s + k
    a = te.placeholder((rows + k - 1, columns + k - 1), "float32", name="a")
    y, x = te.reduce_axis(k, name="y"), te.reduce_axis(k, name="x")
    b = te.compute((rows, columns), lambda i, j: te.max(a[i + y, j + x], axis=[y, x]), name="b")
    u, v = te.reduce_axis(k, name="u"), te.reduce_axis(k, name="v")
    c = te.compute((n, m), lambda i, j: te.max(b[i * s + u, j * s + v], axis=[u, v]), name="c")
    return te.program([a, c], name="pools")


def convs(n: int, channels: int = 2, k: int = 3) -> Program:
    """Three 1-d convolutions over several channels, with padding in front of the first."""
    a = te.placeholder((n, channels), "float32", name="a")
    p = te.compute(
        (n + 2, channels),
        lambda i, j: te.if_then_else(te.all(i >= 1, i < n + 1), a[i - 1, j], te.const(0.0)),
        name="p",
    )
    last, size = p, n + 2
    tensors = [a]
    for level in range(3):
        size -= k - 1
        w = te.placeholder((k, channels, channels), "float32", name=f"w{level}")
        r, q = te.reduce_axis(k, name=f"r{level}"), te.reduce_axis(channels, name=f"q{level}")
        source = last
        last = te.compute(
            (size, channels),
            lambda i, j, s=source, w=w, r=r, q=q: te.sum(s[i + r, q] * w[r, q, j], axis=[r, q]),
            name=f"c{level}",
        )
        tensors.append(w)
    return te.program([*tensors, last], name="convs")


def tiled(program: Program, consumer: str, *tiles: int | None) -> tuple[Schedule, list[Ref]]:
    """The first loops of the consumer split by the tiles, all outer parts first."""
    sch = Schedule(program)
    loops = sch.get_loops(sch.get_block(consumer))
    parts = [sch.split(x, [None, t]) for x, t in zip(loops, tiles, strict=False) if t is not None]
    if len(parts) > 1:
        sch.reorder(*(p[0] for p in parts), *(p[1] for p in parts))
    return sch, [p[0] for p in parts]


def made(sch: Schedule, name: str) -> int:
    """How many iterations over spatial loops a block runs through, its predicate held."""
    block = sch.state.block(name)
    reducing = {str(it.binding) for it in block.iters if it.kind == "reduce"}
    loops = [x for x in sch.state.loops_above(block) if x.var.name not in reducing]
    count = 0
    for values in product(*(range(int_value(x.extent) or 0) for x in loops)):
        at: dict[Var, Expr] = {x.var: const(v) for x, v in zip(loops, values, strict=True)}
        count += bool(int_value(simplify(substitute(block.predicate, at))))
    return count


def test_rows_are_kept_and_made_once() -> None:
    sch = Schedule(stencil(5, 4))
    block = sch.get_block("b")
    sch.compute_at(block, sch.get_loops(sch.get_block("c"))[0])
    assert made(sch, "b") == 5 * 3 * 4
    sch.rolling_buffer(block, 0)
    assert body(sch) == (
        'b = alloc((3, 4), "float32")\n'
        "for i in serial(5):\n"
        "    for ax0 in serial(3):\n"
        "        for ax1 in serial(4):\n"
        '            with block("b"):\n'
        "                v_y = spatial(7, i + ax0)\n"
        "                v_x = spatial(4, ax1)\n"
        "                v_i_1 = opaque(5, i)\n"
        "                where(i < 1 or 2 <= ax0)\n"
        "                reads(a[v_y, v_x])\n"
        "                writes(b[v_y % 3, v_x])\n"
        "                b[v_y % 3, v_x] = a[v_y, v_x] * float32(2.0)\n"
        "    for j in serial(4):\n"
        "        for r in serial(3):\n"
        '            with block("c"):\n'
        "                v_i = spatial(5, i)\n"
        "                v_j = spatial(4, j)\n"
        "                v_r = reduce(3, r)\n"
        "                reads(b[(v_i + v_r) % 3, v_j])\n"
        "                writes(c[v_i, v_j])\n"
        "                with init():\n"
        "                    c[v_i, v_j] = float32(0.0)\n"
        "                c[v_i, v_j] = c[v_i, v_j] + b[(v_i + v_r) % 3, v_j]\n"
    )
    assert made(sch, "b") == 7 * 4
    check_valid(sch)


@pytest.mark.cc
def test_the_buffer_outlives_the_rolling_loop_in_c(tmp_path: Path) -> None:
    sch = Schedule(stencil(5, 4))
    block = sch.get_block("b")
    sch.compute_at(block, sch.get_loops(sch.get_block("c"))[0])
    sch.rolling_buffer(block, 0)
    lines = c_body(sch).splitlines()
    assert lines[0] == "  float b[12] __attribute__((aligned(64)));"
    assert lines[1] == "  for (int64_t i = 0; i < 5; ++i) {"
    check_compiled(sch, tmp_path)


@pytest.mark.cc
@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 1), (7, 5), (13, 3)])
@pytest.mark.parametrize("tile", [1, 2, 3, 4])
def test_odd_sizes_and_tiles(n: int, m: int, tile: int, tmp_path: Path) -> None:
    sch, outer = tiled(stencil(n, m), "c", tile)
    block = sch.get_block("b")
    sch.compute_at(block, outer[0])
    if n <= tile:
        with refuses(sch, "rolling_buffer: expected "):
            sch.rolling_buffer(block, 0)
        return
    sch.rolling_buffer(block, 0)
    assert made(sch, "b") == (n + 2) * m
    check_valid(sch)
    check_compiled(sch, tmp_path)


@pytest.mark.cc
@pytest.mark.parametrize(("k", "s"), [(2, 1), (3, 1), (3, 2), (5, 2)])
@pytest.mark.parametrize("tiles", [(2, 3), (3, 2), (1, None), (None, 2), (4, 4)])
def test_windows_in_two_dimensions(
    k: int, s: int, tiles: tuple[int | None, int | None], tmp_path: Path
) -> None:
    n, m = 7, 6
    sch, outer = tiled(pools(n, m, k, s), "c", *tiles)
    block = sch.get_block("b")
    if tiles[0] is None:
        sch.reorder(outer[0], sch.get_loops(sch.get_block("c"))[0])
    sch.compute_at(block, outer[-1])
    sch.rolling_buffer(block, 0)
    assert made(sch, "b") == ((n - 1) * s + k) * ((m - 1) * s + k)
    check_valid(sch)
    check_compiled(sch, tmp_path)


def test_both_loops_skip_what_is_known() -> None:
    sch, outer = tiled(pools(8, 8), "c", 4, 4)
    block = sch.get_block("b")
    sch.compute_at(block, outer[1])
    sch.rolling_buffer(block, 0)
    assert 'b = alloc((6, 10), "float32")' in body(sch)
    assert "where((c_i_0 < 1 or 2 <= ax0) and (c_j_0 < 1 or 2 <= ax1))" in body(sch)
    check_valid(sch)


@pytest.mark.cc
@pytest.mark.parametrize("n", [7, 11])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_a_chain_of_convolutions(n: int, order: tuple[int, ...], tmp_path: Path) -> None:
    sch = Schedule(convs(n))
    blocks = [sch.get_block(name) for name in ("p", "c0", "c1")]
    (outer, _) = sch.split(sch.get_loops(sch.get_block("c2"))[0], [None, 2])
    for block in reversed(blocks):
        sch.compute_at(block, outer)
    for level in order:
        sch.rolling_buffer(blocks[level], 0)
    assert [made(sch, name) for name in ("p", "c0", "c1")] == [2 * (n + 2), 2 * n, 2 * (n - 2)]
    check_valid(sch)
    check_compiled(sch, tmp_path)


@pytest.mark.cc
def test_bands_of_rows_in_parallel(tmp_path: Path) -> None:
    sch = Schedule(stencil(12, 5))
    block = sch.get_block("b")
    band, row, _ = sch.split(sch.get_loops(sch.get_block("c"))[0], [3, None, 2])
    sch.parallel(band)
    sch.compute_at(block, row)
    sch.rolling_buffer(block, 0)
    assert made(sch, "b") == 3 * 6 * 5
    check_valid(sch)
    check_compiled(sch, tmp_path)


@pytest.mark.cc
def test_loops_are_split_and_unrolled_afterwards(tmp_path: Path) -> None:
    sch = Schedule(stencil(7, 8))
    block, reader = sch.get_block("b"), sch.get_block("c")
    row = sch.get_loops(reader)[0]
    sch.compute_at(block, row)
    sch.rolling_buffer(block, 0)
    sch.vectorize(sch.get_loops(block)[2])
    sch.unroll(sch.get_loops(block)[1])
    sch.storage_align(block, 0, 0, 16, 0)
    sch.split(row, [None, 2])
    check_valid(sch)
    check_compiled(sch, tmp_path)


def test_two_readers_share_the_window() -> None:
    a = te.placeholder((10,), "float32", name="a")
    b = te.compute((10,), lambda i: a[i] + 1.0, name="b")
    c = te.compute((8,), lambda i: b[i] + b[i + 2], name="c")
    d = te.compute((8,), lambda i: c[i] * b[i + 1], name="d")
    sch = Schedule(te.program([a, d], name="shared"))
    row = sch.get_loops(sch.get_block("d"))[0]
    sch.compute_at(sch.get_block("c"), row)
    sch.compute_at(sch.get_block("b"), row)
    sch.rolling_buffer(sch.get_block("b"), 0)
    assert "reads(b[0:3])" in body(sch)
    assert made(sch, "b") == 10
    check_valid(sch)


def test_what_depends_on_the_order_stays_where_it_is() -> None:
    sch = rolled()
    reader = sch.get_block("c")
    (row,) = sch.get_loops(reader)
    with refuses(sch, "'c', which reads 'b' while 'b' goes on writing it"):
        sch.compute_at(reader, sch.get_loops(sch.get_block("d"))[0])
    with refuses(sch, "block 'b', whose opaque iteration 'v_c_i_1' it drives"):
        sch.parallel(row)
    with refuses(sch, "'b', whose iteration 'v_c_i_1' is opaque"):
        sch.compute_inline(sch.get_block("b"))
    sch.reverse_compute_at(sch.get_block("d"), row)
    check_valid(sch)


# -- requirements ------------------------------------------------------------------------------


def test_the_buffer_by_its_name() -> None:
    sch = Schedule(stencil(5, 4))
    sch.compute_at("b", sch.get_loops("c")[0])
    numbered = sch.copy()
    sch.rolling_buffer("b", "b")
    numbered.rolling_buffer("b", 0)
    assert sch.program == numbered.program
    check_valid(sch)


@pytest.mark.parametrize("index", [-1, 1, "a"])
def test_requires_an_index_or_the_name_of_a_buffer_that_the_block_writes(index: int | str) -> None:
    sch = Schedule(two_stages())
    with refuses(sch, f"an index or the name of a buffer that the block writes, got {index!r} of "):
        sch.rolling_buffer(sch.get_block("b"), index)


def test_requires_an_intermediate_buffer() -> None:
    sch = Schedule(copy(4))
    with refuses(sch, "rolling_buffer: expected an intermediate buffer, got the parameter 'b'"):
        sch.rolling_buffer(sch.get_block("b"), 0)


def fused(*producer: str, reads: str = "b[v_c], b[v_c + 1]", where: str = "") -> Program:
    """A loop with a producer of windows of 3 rows, and a reader of two of them.

    Args:
        producer: header and statements of the producer, over ``v_b``.
        reads: what the reader says that it reads.
        where: the condition of the producer.
    """
    lines = producer or ("reads(a[v_b])", "writes(b[v_b])", "b[v_b] = a[v_b]")
    inside = "\n                ".join([*([f"where({where})"] if where else []), *lines])
    return parse(
        f"""@program
def fused(a: Buffer((8,), "float32"), c: Buffer((6,), "float32")):
    b = alloc((8,), "float32")
    e = alloc((8,), "float32")
    for i in serial(6):
        for x in serial(3):
            with block("b"):
                v_b = spatial(8, i + x)
                {inside}
        with block("c"):
            v_c = spatial(6, i)
            reads({reads})
            writes(c[v_c])
            c[v_c] = b[v_c] + b[v_c + 1]
"""
    )


def test_the_programs_of_the_requirements_roll_otherwise() -> None:
    sch = Schedule(fused())
    sch.rolling_buffer(sch.get_block("b"), 0)
    assert 'b = alloc((3,), "float32")' in body(sch)
    check_valid(sch)


def test_requires_a_complete_block_or_a_reduction() -> None:
    sch = Schedule(stencil(5, 4))
    block = sch.get_block("b")
    sch.compute_at(block, sch.get_loops(sch.get_block("c"))[0])
    sch.rolling_buffer(block, 0)
    with refuses(sch, "expected a complete block or a reduction, got 'b', whose iteration 'v_i_1'"):
        sch.rolling_buffer(block, 0)


def test_requires_a_block_that_writes_this_buffer_only() -> None:
    program = fused("reads(a[v_b])", "writes(b[v_b], e[v_b])", "b[v_b] = a[v_b]", "e[v_b] = a[v_b]")
    sch = Schedule(program)
    with refuses(sch, "expected a block that writes this buffer only, got 'b' and 'e'"):
        sch.rolling_buffer(sch.get_block("b"), 0)


def test_requires_a_block_without_conditions() -> None:
    sch = Schedule(fused(where="x < 2"))
    with refuses(sch, "expected a block without conditions, got x < 2"):
        sch.rolling_buffer(sch.get_block("b"), 0)


def test_requires_blocks_without_blocks_inside() -> None:
    program = fused(
        "reads(a[v_b])", "writes(b[v_b])", 'with block("inner"):', "    reads(a[v_b])",
        "    writes(b[v_b])", "    b[v_b] = a[v_b]",
    )  # fmt: skip
    sch = Schedule(program)
    with refuses(sch, "expected blocks without blocks inside, got 'b' around 'inner'"):
        sch.rolling_buffer(sch.get_block("b"), 0)


def test_requires_a_buffer_that_some_block_behind_the_producer_reads() -> None:
    rule = "expected a buffer that some block behind the producer reads, got "
    sch = Schedule(fused("reads(a[v_b])", "writes(e[v_b])", "e[v_b] = a[v_b]"))
    with refuses(sch, rule + "'e', which nobody reads"):
        sch.rolling_buffer(sch.get_block("b"), 0)
    program = parse(
        """@program
def late(a: Buffer((8,), "float32"), c: Buffer((8,), "float32")):
    b = alloc((8,), "float32")
    for i in serial(8):
        with block("c"):
            v_c = spatial(8, i)
            reads(b[v_c])
            writes(c[v_c])
            c[v_c] = b[v_c]
        with block("b"):
            v_b = spatial(8, i)
            reads(a[v_b])
            writes(b[v_b])
            b[v_b] = a[v_b]
"""
    )
    sch = Schedule(program)
    with refuses(sch, rule + "'c' in front of it"):
        sch.rolling_buffer(sch.get_block("b"), 0)


def test_requires_a_loop_around_the_producer_and_all_blocks_that_read_the_buffer() -> None:
    sch = Schedule(chain())
    rule = "expected a loop around the producer and all blocks that read the buffer, got "
    with refuses(sch, rule + "'c' outside of the loops around 'b'"):
        sch.rolling_buffer(sch.get_block("b"), 0)


def test_requires_readers_that_need_no_more_than_the_same_iteration_makes() -> None:
    sch = Schedule(fused(reads="b[v_c:v_c + 4]"))
    rule = "expected readers that need no more than the same iteration makes, got "
    with refuses(sch, rule + "'b', which makes only a part of 'b' there"):
        sch.rolling_buffer(sch.get_block("b"), 0)


def test_requires_windows_of_a_fixed_size_that_are_made_completely() -> None:
    text = str(fused()).replace("for x in serial(3)", "for x in serial(i + 1)")
    text = text.replace("reads(b[v_c], b[v_c + 1])", "reads(b[v_c])").replace(" + b[v_c + 1]", "")
    sch = Schedule(parse(text))
    rule = "expected windows of a fixed size that are made completely, got 'b' written at"
    with refuses(sch, rule):
        sch.rolling_buffer(sch.get_block("b"), 0)


def test_requires_a_loop_whose_windows_overlap_along_one_axis() -> None:
    rule = "expected a loop whose windows overlap along one axis, got windows of "
    sch = Schedule(two_stages())
    sch.compute_at(sch.get_block("b"), sch.get_loops(sch.get_block("c"))[0])
    with refuses(sch, rule + "1 x 8"):
        sch.rolling_buffer(sch.get_block("b"), 0)
    a = te.placeholder((6, 6), "float32", name="a")
    b = te.compute((6, 6), lambda y, x: a[y, x] * 2.0, name="b")
    c = te.compute((5,), lambda i: b[i, i] + b[i + 1, i + 1], name="c")
    sch = Schedule(te.program([a, c], name="diagonal"))
    sch.compute_at(sch.get_block("b"), sch.get_loops(sch.get_block("c"))[0])
    with refuses(sch, rule + "2 x 2"):
        sch.rolling_buffer(sch.get_block("b"), 0)


def test_requires_serial_or_unrolled_loops_from_the_rolling_one_on() -> None:
    sch = Schedule(stencil(6, 4))
    row = sch.get_loops(sch.get_block("c"))[0]
    sch.parallel(row)
    sch.compute_at(sch.get_block("b"), row)
    rule = "expected serial or unrolled loops from the rolling one on, got 'i', which is parallel"
    with refuses(sch, rule):
        sch.rolling_buffer(sch.get_block("b"), 0)
