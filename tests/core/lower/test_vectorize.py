from __future__ import annotations

from collections.abc import Callable

import pytest

from metasched.errors import CodegenError
from tests.core.lower.programs import after

Golden = Callable[[str], None]

COPY = """
@program
def copy(a: Buffer(({n},), "{dtype}"), b: Buffer(({n},), "{dtype}")):
    for i in vectorized({n}):
        with block("b"):
            v = spatial({n}, i)
            reads(a[v])
            writes(b[v])
            b[v] = a[v] + {dtype}(1)
"""


@pytest.mark.parametrize(
    ("n", "dtype", "lanes"),
    [
        (48, "float32", [16]),
        (12, "float32", [8, 4]),
        (7, "float32", [4, 2]),
        (24, "float64", [8]),
        (64, "int8", [64]),
    ],
)
def test_extents_split_into_powers_of_two(n: int, dtype: str, lanes: list[int]) -> None:
    text = after(COPY.format(n=n, dtype=dtype), "vectorize")
    widths = {
        int(part.split(")")[0])
        for part in text.split("ramp(")[1:]
        for part in [part.split(", ")[2]]
    }
    assert widths == set(lanes)


def test_indices_are_converted_in_all_lanes() -> None:
    text = after(
        """
@program
def p(b: Buffer((8,), "int32"), c: Buffer((8,), "int32")):
    for i in vectorized(8):
        with block("b"):
            v = spatial(8, i)
            writes(b[v])
            b[v] = cast(v * 3, "int32")
    for j in vectorized(8):
        with block("c"):
            w = spatial(8, j)
            writes(c[w])
            c[w] = cast(w % 3, "int32") + int32(2)
""",
        "vectorize",
    )
    assert 'cast(ramp(0, 1, 8) * broadcast(3, 8), "int32x8")' in text
    assert 'cast(ramp(0, 1, 8) % broadcast(3, 8), "int32x8") + broadcast(int32(2), 8)' in text


def test_gathers_and_scatters_keep_their_strides(golden: Golden) -> None:
    golden(
        after(
            """
@program
def p(a: Buffer((8, 3), "float32"), b: Buffer((8, 5), "float32")):
    for i in vectorized(8):
        with block("b"):
            v = spatial(8, i)
            reads(a[v, 1])
            writes(b[v, 2])
            b[v, 2] = a[v, 1]
""",
            "vectorize",
        )
    )


def test_quotients_within_one_row_are_scalar(golden: Golden) -> None:
    golden(
        after(
            """
@program
def p(a: Buffer((32,), "float32"), b: Buffer((64,), "float32")):
    for i in vectorized(64):
        with block("b"):
            v = spatial(64, i)
            reads(a[v // 32 + v % 32])
            writes(b[v])
            b[v] = a[v % 32] * a[v // 32]
""",
            "vectorize",
        )
    )


def test_a_symbolic_extent_stays_a_loop() -> None:
    program = """
@program
def p(a: Buffer((n,), "float32"), b: Buffer((n,), "float32")):
    for i in vectorized(n):
        with block("b"):
            v = spatial(n, i)
            reads(a[v])
            writes(b[v])
            b[v] = a[v]
"""
    assert "serial(n)" in after(program, "vectorize")


def test_reducing_lanes_into_one_place_is_refused() -> None:
    program = """
@program
def p(a: Buffer((16,), "float32"), b: Buffer((1,), "float32")):
    for i in vectorized(16):
        with block("b"):
            v = spatial(1, 0)
            k = reduce(16, i)
            reads(a[k])
            writes(b[v])
            b[v] = b[v] + a[k]
"""
    with pytest.raises(CodegenError, match="writes one element of 'b' many times"):
        after(program, "vectorize")
