"""The printed C: golden texts, and numbers against the reference interpreter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from metasched import te
from metasched.codegen import emit
from metasched.errors import CodegenError
from metasched.ir.parser import parse
from metasched.ir.reference import evaluate
from metasched.ir.stmt import LoopKind, Program
from metasched.lower import lower, plain
from metasched.testing.suite import SUITE, small
from tests.core.codegen.running import random_inputs, run
from tests.core.lower.programs import Machine, matmul, tiled_matmul

Golden = Callable[[str], None]
STORAGE = """
@program
def p(a: Buffer((4, 20000), "float32"), c: Buffer((4, 20000), "float32")):
    big = alloc((4, 20000), "float32")
    tiny = alloc((4, 8), "float32")
    for i in parallel(4):
        for j in serial(20000):
            with block("big"):
                vi = spatial(4, i)
                vj = spatial(20000, j)
                reads(a[vi, vj])
                writes(big[vi, vj])
                big[vi, vj] = a[vi, vj] + float32(1.0)
        for x in serial(8):
            with block("tiny"):
                ti = spatial(4, i)
                tx = spatial(8, x)
                reads(big[ti, tx * 7])
                writes(tiny[ti, tx])
                tiny[ti, tx] = big[ti, tx * 7]
        for k in serial(20000):
            with block("c"):
                wi = spatial(4, i)
                wk = spatial(20000, k)
                reads(big[wi, 19999 - wk], tiny[wi, wk % 8])
                writes(c[wi, wk])
                c[wi, wk] = big[wi, 19999 - wk] + tiny[wi, wk % 8]
"""
PARALLEL: dict[str, LoopKind] = {"i0": "parallel"}


def text_of(program: Program, machine: Machine | None = None) -> str:
    target = machine or Machine()
    return emit(lower(program, target), target).text


def check(
    program: Program,
    folder: Path,
    *,
    rtol: float = 2e-6,
    plainly: bool = False,
    machine: Machine | None = None,
) -> None:
    """Compare a compiled program with the interpreter in double precision."""
    inputs = random_inputs(program)
    expected = evaluate(program, inputs)
    lowered = plain(program) if plainly else None
    got = run(program, inputs, folder, lowered=lowered, machine=machine)
    for name, array in expected.items():
        scale = float(np.abs(array).max()) or 1.0
        np.testing.assert_allclose(got[name], array, rtol=0, atol=rtol * scale * 4, err_msg=name)


def test_a_register_tile(golden: Golden) -> None:
    golden(text_of(tiled_matmul((2, 1, 1, 2), (1, 1, 1, 32), (1, 64), kinds=PARALLEL)))


def test_a_partial_tile(golden: Golden) -> None:
    golden(text_of(tiled_matmul((2, 1, 1, 2), (1, 1, 1, 16), (2, 8), sizes=(3, 13, 15))))


def test_stack_workspace_and_thread_slots(golden: Golden) -> None:
    golden(text_of(parse(STORAGE)))


def test_sizes_follow_the_data_pointers(golden: Golden) -> None:
    n, m = te.var("n"), te.var("m")
    x = te.placeholder((n, m), "float32", name="x")
    y = te.compute((m, n), lambda i, j: x[j, i] * 2.0, name="y")
    golden(text_of(te.program([x, y], name="transpose")))


def test_conversions_choices_and_intrinsics(golden: Golden) -> None:
    x = te.placeholder((16,), "float32", name="x")
    n = te.placeholder((16,), "int32", name="n")
    y = te.compute(
        (16,),
        lambda i: te.if_then_else(
            n[i] > 2, te.exp(x[i]), te.max(te.cast(n[i], "float32"), te.sqrt(te.abs(x[i])))
        ),
        name="y",
    )
    golden(text_of(te.program([x, n, y], name="mixed")))


def test_the_same_program_gives_the_same_bytes() -> None:
    program = tiled_matmul((2, 2, 1, 4), (1, 1, 2, 32), (2, 8), sizes=(13, 60, 15))
    assert text_of(program) == text_of(program)


def test_names_that_c_reserves_are_changed() -> None:
    x = te.placeholder((4,), "float32", name="int")
    y = te.compute((4,), lambda register: x[register] + 1.0, name="workspace")
    text = text_of(te.program([x, y], name="double"))
    assert "v_int" in text
    assert "v_workspace" in text
    assert "metasched_v_double" in text


def test_arithmetic_in_bfloat16_is_refused() -> None:
    with pytest.raises(CodegenError, match="C has no 'add' for bfloat16; cast to float32"):
        text_of(matmul(4, 4, 4, "bfloat16"))


def test_thread_bound_loops_are_refused() -> None:
    program = """
@program
def p(b: Buffer((4,), "float32")):
    for i in thread(4, axis="threadIdx.x"):
        with block("b"):
            v = spatial(4, i)
            writes(b[v])
            b[v] = float32(1.0)
"""
    with pytest.raises(CodegenError, match=r"bound to 'threadIdx\.x'"):
        text_of(parse(program))


TILED: dict[str, Program] = {
    "exact": tiled_matmul((1, 2, 2, 4), (2, 1, 1, 32), (3, 8)),
    "parallel": tiled_matmul((2, 2, 2, 4), (2, 1, 1, 32), (3, 8), kinds=PARALLEL),
    "primes": tiled_matmul((2, 2, 2, 4), (2, 2, 1, 16), (2, 16), sizes=(31, 53, 29)),
    "ones": tiled_matmul((1, 1, 1, 4), (1, 1, 1, 16), (1, 4), sizes=(1, 1, 1)),
    "threads": tiled_matmul(
        (3, 2, 2, 4), (2, 1, 1, 48), (2, 8), sizes=(41, 90, 13), kinds=PARALLEL
    ),
    "cut": tiled_matmul((1, 1, 1, 24), (1, 1, 1, 80), (1, 9)),
    "seven": tiled_matmul((1, 2, 1, 3), (2, 1, 2, 7), (2, 5)),
    "scalar": tiled_matmul((1, 2, 1, 3), (2, 1, 2, 6), (2, 5), kinds={"j3": "serial"}),
    "double": tiled_matmul((1, 2, 1, 3), (1, 1, 1, 24), (2, 5), dtype="float64"),
    "bytes": tiled_matmul((1, 2, 1, 3), (1, 1, 1, 40), (2, 5), dtype="int8", acc_dtype="int32"),
}


@pytest.mark.cc
@pytest.mark.parametrize("name", TILED)
def test_tiled_matmuls(name: str, tmp_path: Path) -> None:
    check(TILED[name], tmp_path)


@pytest.mark.cc
@pytest.mark.parametrize("bits", [128, 256])
def test_narrower_machines(bits: int, tmp_path: Path) -> None:
    check(TILED["primes"], tmp_path, machine=Machine(vector_bits=bits, vector_registers=16))


@pytest.mark.cc
@pytest.mark.parametrize("name", [n for n in SUITE if n not in ("GMM-512", "GMM-1024", "DIL")])
def test_unscheduled_suite(name: str, tmp_path: Path) -> None:
    check(small(name), tmp_path)


@pytest.mark.cc
@pytest.mark.parametrize("name", ["GMM-128", "CBR", "T2D", "SFM"])
def test_plain_suite(name: str, tmp_path: Path) -> None:
    check(small(name), tmp_path, plainly=True, rtol=1e-7)


@pytest.mark.cc
def test_plain_accumulates_in_double(tmp_path: Path) -> None:
    program = matmul(1, 1, 5000)
    inputs = {"a": np.full((1, 5000), 0.1, "float32"), "b": np.ones((5000, 1), "float32")}
    exact = float(np.float32(0.1).astype("float64") * 5000)
    got = run(program, inputs, tmp_path, lowered=plain(program))["c"][0, 0]
    assert got == np.float32(exact)


@pytest.mark.cc
def test_gathers_scatters_and_guarded_loads(tmp_path: Path) -> None:
    x = te.placeholder((40,), "float32", name="x")
    t = te.placeholder((40,), "int32", name="t")
    gather = te.compute((37,), lambda i: x[te.cast(te.abs(t[i]), "int64") % 40], name="g")
    strided = te.compute((37,), lambda i: x[(i * 3) % 40] + gather[i], name="s")
    guarded = te.compute(
        (37,), lambda i: te.if_then_else(i % 3 < 1, strided[i], x[36 - i]), name="y"
    )
    program = te.program([x, t, guarded], name="irregular")
    check(program, tmp_path)
    check(parse(str(program).replace("serial(37)", "vectorized(37)")), tmp_path)


@pytest.mark.cc
def test_floor_division_of_negative_numbers(tmp_path: Path) -> None:
    a = te.placeholder((33,), "int32", name="a")
    q = te.compute((33,), lambda i: te.floordiv(a[i], 3) * 10 + te.floormod(a[i], 3), name="q")
    check(te.program([a, q], name="floor"), tmp_path)


@pytest.mark.cc
@pytest.mark.parametrize("reduce", [te.sum, te.max, te.min])
def test_row_reductions(reduce: Callable[..., te.Reduction], tmp_path: Path) -> None:
    x = te.placeholder((3, 150), "float32", name="x")
    k = te.reduce_axis(150, name="k")
    y = te.compute((3,), lambda i: reduce(x[i, k], axis=k), name="y")
    check(te.program([x, y], name="rows"), tmp_path)


@pytest.mark.cc
def test_comparisons_and_logic_on_vectors(tmp_path: Path) -> None:
    x = te.placeholder((21,), "float32", name="x")
    n = te.placeholder((21,), "int8", name="n")
    flag = te.compute((21,), lambda i: te.any(x[i] < 0.25, n[i] > 3), name="flag")
    y = te.compute(
        (21,),
        lambda i: te.if_then_else(te.all(flag[i], x[i] > -0.5), x[i], te.cast(n[i], "float32")),
        name="y",
    )
    check(te.program([x, n, y], name="logic"), tmp_path)


@pytest.mark.cc
def test_threads_do_not_share_private_buffers(tmp_path: Path) -> None:
    check(parse(STORAGE), tmp_path)


@pytest.mark.cc
def test_symbolic_sizes_run(tmp_path: Path) -> None:
    from tests.core.codegen.running import Kernel

    n, m = te.var("n"), te.var("m")
    x = te.placeholder((n, m), "float32", name="x")
    y = te.compute((m, n), lambda i, j: x[j, i] * 2.0, name="y")
    program = te.program([x, y], name="transpose")
    kernel = Kernel(emit(lower(program, Machine()), Machine()), tmp_path)
    for rows, columns in ((3, 5), (1, 7), (33, 17)):
        a = np.arange(rows * columns, dtype="float32").reshape(rows, columns)
        out = np.full((columns, rows), np.nan, "float32")
        kernel([a, out], (rows, columns))
        np.testing.assert_array_equal(out, a.T * 2)
