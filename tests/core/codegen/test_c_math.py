from __future__ import annotations

import ctypes
import math
import subprocess

import numpy as np
import pytest

from metasched.codegen.c_math import MATH
from metasched.codegen.c_prelude import prelude
from metasched.ir.dtype import DType
from tests.core.codegen.running import FLAGS

pytestmark = pytest.mark.cc
LANES = 16
EXACT = {
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "erf": np.vectorize(math.erf),
}
ULPS = {"exp": 2, "log": 2, "tanh": 3, "sigmoid": 3, "erf": 6}
SPECIAL = [0.0, -0.0, math.inf, -math.inf, math.nan, 1e-40, -1e-40, 1, -1, 89, -105, 3e38, -3e38]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    helpers = [(fn, DType("float", 32, lanes)) for fn in MATH for lanes in (1, LANES)]
    text = "#include <math.h>\n#include <stdint.h>\n" + prelude([], helpers)
    for fn in MATH:
        text += (
            f"\nvoid {fn}_vector(float *x, float *y, long n) {{\n"
            f"  for (long i = 0; i < n; i += {LANES})\n"
            f"    *(f32x16_u *)(y + i) = ms_{fn}_f32x16(*(f32x16_u *)(x + i));\n}}\n"
            f"void {fn}_scalar(float *x, float *y, long n) {{\n"
            f"  for (long i = 0; i < n; ++i) y[i] = ms_{fn}_f32(x[i]);\n}}\n"
        )
    folder = tmp_path_factory.mktemp("math")
    (folder / "m.c").write_text(text)
    path = folder / "m.so"
    subprocess.run(["gcc", *FLAGS, "-o", str(path), str(folder / "m.c"), "-lm"], check=True)
    return ctypes.CDLL(str(path))


def apply(library: ctypes.CDLL, name: str, x: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (x, y)]
    library[name](*pointers, ctypes.c_long(len(x)))
    return y


def samples(fn: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    if fn == "exp":
        x = rng.uniform(-87, 88.7, 1 << 16)
    elif fn == "log":
        x = np.concatenate([np.exp(rng.uniform(-87, 88, 1 << 15)), rng.uniform(0.5, 2, 1 << 15)])
    else:
        tiny = np.exp(rng.uniform(-40, 0, 1 << 15))
        x = np.concatenate([rng.uniform(-10, 10, 1 << 15), tiny])
    return x.astype("float32")


@pytest.mark.parametrize("form", ["vector", "scalar"])
@pytest.mark.parametrize("fn", sorted(MATH))
def test_accuracy(library: ctypes.CDLL, fn: str, form: str) -> None:
    x = samples(fn)
    y = apply(library, f"{fn}_{form}", x)
    exact = EXACT[fn](x.astype("float64"))
    ulps = np.abs(y - exact) / np.spacing(np.abs(exact).astype("float32"))
    assert ulps.max() <= ULPS[fn]


@pytest.mark.parametrize("form", ["vector", "scalar"])
@pytest.mark.parametrize("fn", sorted(MATH))
def test_special_values(library: ctypes.CDLL, fn: str, form: str) -> None:
    x = np.resize(np.array(SPECIAL, "float32"), LANES)
    y = apply(library, f"{fn}_{form}", x)
    with np.errstate(all="ignore"):
        exact = EXACT[fn](x.astype("float64")).astype("float32")
    np.testing.assert_allclose(y, exact, rtol=5e-7, atol=1e-44)
