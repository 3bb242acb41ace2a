from __future__ import annotations

from collections.abc import Callable

from tests.core.lower.programs import Machine, after, tiled_matmul

Golden = Callable[[str], None]


def test_a_small_tile_is_written_out_inside_all_reduction_loops(golden: Golden) -> None:
    program = tiled_matmul((2, 1, 2, 2), (1, 1, 1, 32), (3, 4))
    golden(after(program, "tile_registers"))


def test_a_tile_too_large_for_the_registers_is_cut() -> None:
    program = tiled_matmul((1, 1, 1, 64), (1, 1, 1, 64), (1, 8))
    text = after(program, "tile_registers")
    sums = [line for line in text.splitlines() if "float32x16" not in line and " + " in line]
    assert "i3_o in serial(" in text
    assert 16 <= len(sums) <= 29


def test_fewer_registers_give_smaller_tiles() -> None:
    program = tiled_matmul((1, 1, 1, 8), (1, 1, 1, 16), (1, 8))
    wide = after(program, "tile_registers", Machine(vector_bits=128, vector_registers=16))
    assert "_o in serial(" in wide


def test_sums_that_read_each_other_keep_their_order() -> None:
    program = """
@program
def p(a: Buffer((4, 8), "float32"), c: Buffer((4,), "float32"), d: Buffer((4,), "float32")):
    for k in serial(8):
        for i in serial(4):
            with block("b"):
                v = spatial(4, i)
                vk = reduce(8, k)
                reads(a[v, vk], c[v], d[3 - v])
                writes(c[v], d[v])
                c[v] = c[v] + a[v, vk]
                d[v] = d[v] + c[3 - v]
"""
    assert "for i in serial(4)" in after(program, "tile_registers")


def test_a_cut_tile_keeps_all_reduction_loops_inside() -> None:
    order = "i0 j0 i1 j1 i2 j2 k0 k1 i3 j3"
    program = tiled_matmul((1, 1, 1, 64), (1, 1, 1, 32), (3, 5), order=order)
    lines = after(program, "tile_registers").splitlines()
    loops = [
        line.split()[1] for line in lines if line.strip().startswith("for") and "init" not in line
    ]
    assert loops[-3:] == ["i3_o", "k0", "k1"]
