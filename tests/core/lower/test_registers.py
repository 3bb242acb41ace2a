from __future__ import annotations

from collections.abc import Callable

from metasched.ir.stmt import Alloc
from metasched.ir.walk import walk
from metasched.lower import lower
from tests.core.lower.programs import Machine, after, matmul, tiled_matmul

Golden = Callable[[str], None]


def test_sums_live_in_variables_that_start_from_the_constant(golden: Golden) -> None:
    program = tiled_matmul((2, 1, 1, 2), (1, 1, 1, 32), (1, 5))
    golden(after(program, "promote_registers"))


def test_every_sum_has_a_variable_of_its_own() -> None:
    program = tiled_matmul((1, 1, 1, 14), (1, 1, 1, 32), (1, 64))
    body = lower(program, Machine()).body
    registers = [n.buffer for n in walk(body) if isinstance(n, Alloc)]
    sums = [r for r in registers if r.name.startswith("c")]
    assert len(sums) == 28
    assert all(str(r.dtype) == "float32x16" and r.scope == "register" for r in sums)


def test_a_small_local_buffer_becomes_variables() -> None:
    text = after(
        """
@program
def p(a: Buffer((64, 2), "float32"), b: Buffer((64, 2), "float32")):
    t = alloc((64, 2), "float32", scope="local")
    for i in serial(64):
        for j in unrolled(2):
            with block("t"):
                v = spatial(64, i)
                w = spatial(2, j)
                reads(a[v, w])
                writes(t[v, w])
                t[v, w] = a[v, w] * a[v, w]
        for k in unrolled(2):
            with block("b"):
                x = spatial(64, i)
                y = spatial(2, k)
                reads(t[x, 1 - y])
                writes(b[x, y])
                b[x, y] = t[x, 1 - y]
""",
        "promote_registers",
    )
    assert 'scope="local"' not in text
    assert text.count('scope="register"') == 2


def test_places_that_may_overlap_stay_in_memory() -> None:
    text = after(
        """
@program
def p(a: Buffer((8,), "float32"), b: Buffer((n, 4), "float32")):
    for i in serial(n):
        for k in serial(8):
            for j in unrolled(2):
                with block("b"):
                    vi = spatial(n, i)
                    vj = spatial(4, j * 2)
                    vk = reduce(8, k)
                    reads(a[vk])
                    writes(b[vi, vj])
                    b[vi, vj] = b[vi, vj] + a[vk] + b[(vi + 1) % n, vj]
""",
        "promote_registers",
    )
    assert "register" not in text


def test_an_unscheduled_sum_is_kept_in_a_scalar() -> None:
    assert 'scope="register"' in after(matmul(3, 4, 5), "promote_registers")
