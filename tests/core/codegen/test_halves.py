"""float16 and bfloat16 in C: storage in both, arithmetic in float16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from metasched import te
from metasched.errors import CodegenError
from metasched.ir.reference import evaluate
from metasched.ir.stmt import Program
from metasched.lower import plain
from tests.core.codegen.running import run
from tests.core.codegen.test_c import text_of

pytestmark = pytest.mark.cc

SPECIAL = [0.0, -0.0, 1.0, -1.5, 1 / 3, 65504.0, 1e30, -1e30, np.inf, -np.inf, np.nan, 1e-8, 3.4e38]
# Exactly between two bfloat16 numbers, with an even and an odd lower neighbour.
TIES = [1.0 + 2**-8, 1.0 + 3 * 2**-8, -1.0 - 2**-8]


def through(dtype: str, n: int, to: str = "float32") -> Program:
    a = te.placeholder((n,), "float32", name="a")
    b = te.compute((n,), lambda i: te.cast(a[i], dtype), name="b")
    c = te.compute((n,), lambda i: te.cast(b[i], to), name="c")
    return te.program([a, b, c], name="through")


def values(n: int) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(0)
    given = [*SPECIAL, *TIES, *(rng.standard_normal(n) * 10.0 ** rng.integers(-4, 5, n))]
    return np.array(given[:n], np.float32)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("n", [1, 7, 96])
@pytest.mark.parametrize("to", ["float32", "float64"])
def test_values_survive_as_rounded(dtype: str, n: int, to: str, tmp_path: Path) -> None:
    program, inputs = through(dtype, n, to), {"a": values(n)}
    want = evaluate(program, inputs, precision="program")
    for lowered in (None, plain(program)):
        got = run(program, inputs, tmp_path, lowered=lowered)
        np.testing.assert_array_equal(got["c"], want["c"])
        if dtype == "float16":
            np.testing.assert_array_equal(got["b"], want["b"])


def test_bits_of_bfloat16(tmp_path: Path) -> None:
    program, inputs = through("bfloat16", 16), {"a": values(16)}
    want = evaluate(program, inputs, precision="program")["b"]
    got = run(program, inputs, tmp_path)["b"]
    number = ~np.isnan(inputs["a"])
    np.testing.assert_array_equal(got[number], want[number])
    assert (got[~number] & 0x7FC0 == 0x7FC0).all()


def test_constants(tmp_path: Path) -> None:
    numbers = (1.1, -0.25, float("inf"))
    for dtype in ("float16", "bfloat16"):
        for number in numbers:
            b = te.compute((5,), lambda i, d=dtype, x=number: te.const(x, d), name="b")
            program = te.program([b], name="constant")
            want = evaluate(program, {}, precision="program")["b"]
            np.testing.assert_array_equal(run(program, {}, tmp_path)["b"], want)


def test_arithmetic_in_float16(tmp_path: Path) -> None:
    n = 37
    a = te.placeholder((n,), "float16", name="a")
    b = te.compute(
        (n,), lambda i: te.max(te.exp(a[i]) * a[i] + te.const(0.5, "float16"), a[i]), name="b"
    )
    program = te.program([a, b], name="half")
    inputs = {"a": np.random.default_rng(1).uniform(-1, 1, n).astype(np.float16)}
    want = evaluate(program, inputs)["b"]
    np.testing.assert_allclose(run(program, inputs, tmp_path)["b"], want, rtol=4e-3, atol=4e-3)


def test_the_plain_kernel_of_halves_accumulates_in_double(tmp_path: Path) -> None:
    n = 4099
    a = te.placeholder((n,), "float16", name="a")
    r = te.reduce_axis(n, name="r")
    b = te.compute((1,), lambda i: te.sum(a[r + i], axis=r), name="b")
    program = te.program([a, b], name="total")
    ones = {"a": np.ones(n, np.float16)}
    assert run(program, ones, tmp_path, lowered=plain(program))["b"] == np.float16(n)


@pytest.mark.parametrize("fn", ["exp", "abs"])
def test_functions_of_bfloat16_are_refused(fn: str) -> None:
    a = te.placeholder((4,), "bfloat16", name="a")
    b = te.compute((4,), lambda i: getattr(te, fn)(a[i]), name="b")
    with pytest.raises(CodegenError, match=f"no '{fn}' for bfloat16; cast to float32"):
        text_of(te.program([a, b], name="refused"))
