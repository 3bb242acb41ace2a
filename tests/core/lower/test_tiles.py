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
