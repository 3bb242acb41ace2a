from __future__ import annotations

from collections.abc import Callable

from tests.core.lower.programs import after, tiled_matmul

Golden = Callable[[str], None]


def test_full_tiles_run_without_conditions(golden: Golden) -> None:
    program = tiled_matmul((3, 4), (2, 16), (2, 8), order="i0 j0 k0 k1 i1 j1", sizes=(10, 20, 13))
    golden(after(program, "hoist_guards"))


def test_a_bound_on_a_serial_loop_becomes_its_extent() -> None:
    program = """
@program
def p(a: Buffer((n,), "float32"), b: Buffer((n,), "float32")):
    for i in serial((n + 7) // 8):
        for j in serial(8):
            with block("b"):
                v = spatial(n, i * 8 + j)
                where(i * 8 + j < n)
                reads(a[v])
                writes(b[v])
                b[v] = a[v]
"""
    text = after(program, "hoist_guards")
    assert "if" not in text
    assert "min(n - i * 8, 8)" in text


def test_an_exact_schedule_has_no_conditions() -> None:
    assert "if" not in after(
        tiled_matmul((3, 4), (2, 16), (2, 8), order="i0 j0 k0 k1 i1 j1"), "hoist_guards"
    )
