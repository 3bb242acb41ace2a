from __future__ import annotations

from collections.abc import Callable

from tests.core.lower.programs import after, matmul, tiled_matmul

Golden = Callable[[str], None]


def test_init_goes_before_the_outermost_reducing_loop(golden: Golden) -> None:
    golden(after(tiled_matmul((2, 3), (2, 4), (2, 5), order="i0 j0 k0 i1 k1 j1"), "lower_blocks"))


def test_predicates_guard_the_init_and_the_update(golden: Golden) -> None:
    program = tiled_matmul((2, 3), (2, 4), (2, 5), order="i0 j0 k0 i1 k1 j1", sizes=(5, 7, 9))
    golden(after(program, "lower_blocks"))


def test_loops_of_one_step_vanish() -> None:
    text = after(matmul(1, 1, 1), "lower_blocks")
    assert "for" not in text


def test_unroll_pragmas_of_vanished_loops_move_inwards() -> None:
    program = """
@program
def p(a: Buffer((4,), "float32"), b: Buffer((4,), "float32")):
    for o in serial(1, {"pragma_auto_unroll_max_step": 16}):
        for i in serial(4):
            with block("b"):
                v = spatial(4, o * 4 + i)
                reads(a[v])
                writes(b[v])
                b[v] = a[v]
"""
    assert 'for i in serial(4, {"pragma_auto_unroll_max_step": 16})' in after(
        program, "lower_blocks"
    )


def test_a_reduction_repeated_by_a_stray_loop_starts_again() -> None:
    program = """
@program
def p(a: Buffer((4, 4), "float32"), b: Buffer((1,), "float32")):
    for k in serial(4):
        for stray in serial(2):
            for m in serial(4):
                with block("b"):
                    v = spatial(1, 0)
                    vk = reduce(4, k)
                    vm = reduce(4, m)
                    reads(a[vk, vm])
                    writes(b[v])
                    with init():
                        b[v] = float32(0.0)
                    b[v] = b[v] + a[vk, vm]
"""
    text = after(program, "lower_blocks")
    assert text.index("for stray in serial(2):") < text.index("if k == 0 and m == 0:")


def test_a_loop_that_also_counts_results_starts_each_of_them() -> None:
    program = """
@program
def p(a: Buffer((7, 3), "float32"), b: Buffer((7,), "float32")):
    for f in serial(21):
        with block("b"):
            v = spatial(7, f // 3)
            vk = reduce(3, f % 3)
            reads(a[v, vk])
            writes(b[v])
            with init():
                b[v] = float32(0.0)
            b[v] = b[v] + a[v, vk]
"""
    text = after(program, "lower_blocks")
    assert "if f % 3 == 0:" in text
    assert "b[f // 3] = float32(0.0)" in text
