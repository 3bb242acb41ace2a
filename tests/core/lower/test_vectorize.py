from __future__ import annotations

from collections.abc import Callable

import pytest

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


def test_reducing_lanes_into_one_place_stay_a_loop() -> None:
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
    assert "for i in serial(16):" in after(program, "vectorize")


def test_one_place_with_another_value_in_each_lane_stays_a_loop() -> None:
    program = """
@program
def p(a: Buffer((16,), "float32"), b: Buffer((16,), "float32")):
    for i in vectorized(16):
        with block("outer"):
            v = spatial(16, i)
            reads(a[v])
            writes(b[v])
            t = alloc((), "float32")
            with block("t"):
                reads(a[v])
                writes(t[()])
                t[()] = a[v] * float32(2.0)
            with block("b"):
                reads(t[()])
                writes(b[v])
                b[v] = t[()]
"""
    assert "for i in serial(16):" in after(program, "vectorize")


def test_what_is_the_same_in_all_lanes_is_stored_once() -> None:
    program = """
@program
def p(a: Buffer((4,), "float32"), b: Buffer((4, 16), "float32")):
    t = alloc((4,), "float32")
    for r in serial(4):
        for i in vectorized(16):
            with block("t"):
                v = spatial(4, r)
                reads(a[v])
                writes(t[v])
                t[v] = a[v] * float32(2.0)
            with block("b"):
                v_r = spatial(4, r)
                v_i = spatial(16, i)
                reads(t[v_r])
                writes(b[v_r, v_i])
                b[v_r, v_i] = t[v_r] + float32(1.0)
"""
    text = after(program, "vectorize")
    assert "t[0] = a[r] * float32(2.0)" in text
    assert "b[ramp(r * 16, 1, 16)] = broadcast(t[0] + float32(1.0), 16)" in text
